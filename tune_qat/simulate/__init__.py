"""`tune-qat simulate`: a study on a simulated clock, with recorded curves in place of training."""
