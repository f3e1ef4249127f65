"""Local and remote paths, files written atomically, and what is refused repeated."""
