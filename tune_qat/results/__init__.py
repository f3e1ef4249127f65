"""The record: Parquet files that are the truth about a study. Knows neither torch nor ray."""
