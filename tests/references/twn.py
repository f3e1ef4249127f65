"""Ternary weights in plain Python (Li et al., arXiv 1605.04711)."""

from collections.abc import Sequence


def quantize(weights: Sequence[float], threshold: float) -> tuple[list[int], float]:
    """A whole layer: its codes, and the size that they are multiplied by."""
    delta = threshold * sum(abs(w) for w in weights) / len(weights)
    codes = [1 if w > delta else -1 if w < -delta else 0 for w in weights]
    kept = [abs(w) for w, code in zip(weights, codes, strict=True) if code]
    return codes, sum(kept) / len(kept)
