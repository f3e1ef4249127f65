"""A study with wider ranges, made from the record of its last run. Knows neither torch nor ray."""
