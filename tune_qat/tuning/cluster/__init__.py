"""Ray clusters: how one is reached, started or joined, and checks of its nodes."""
