"""Local and remote paths, files written atomically, and refused writes repeated."""
