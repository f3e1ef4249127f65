"""Ray clusters: whether one answers, joins or starts, and what its nodes have."""
