"""One recorded trial again, outside Ray, from what the record says alone."""
