"""Brings studies that something else ran into the record. It reads data and never code: nothing is unpickled."""
