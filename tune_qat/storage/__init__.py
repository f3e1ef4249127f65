"""A path on this machine or on object storage, files written whole, and writes tried again."""
