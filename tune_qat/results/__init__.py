"""The record of a study: its Parquet files, written and read without torch and Ray."""
