"""Quantizers inside a model: which layers get one, and what such a layer computes."""
