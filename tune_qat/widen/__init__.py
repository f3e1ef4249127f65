"""A study with wider ranges, made from the record of its last run, without torch and Ray."""
