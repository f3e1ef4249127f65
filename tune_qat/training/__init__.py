"""Training of one configuration, without Ray and without the record."""
