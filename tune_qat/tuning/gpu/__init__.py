"""Several trials on one GPU: the measured number that fits, and the memory that each may take."""
