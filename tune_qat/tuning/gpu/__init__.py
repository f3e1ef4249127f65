"""Several trials on one GPU: how many fit, measured, and the memory that each may take."""
