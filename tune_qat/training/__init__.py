"""Trains one configuration. Knows nothing of Ray, nor of the record."""
