"""Rerun of one recorded trial, outside Ray, from its record alone."""
