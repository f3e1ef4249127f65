"""Assignment of samples to splits: a function of the seed alone, the same with every version of every library."""

import numpy as np

from tune_qat.data.counter_rng import permutation


def shuffled(n: int, seed: int) -> np.ndarray:
    """Return a random order of range(n), int64 of shape (n,)."""
    return permutation(n, seed).numpy()


def stratified_order(labels: np.ndarray, seed: int) -> np.ndarray:
    """Return a random order of the samples of which every prefix holds the classes in their own proportions.

    Samples are sorted by their relative rank in their own class, which is shuffled: (rank + 1/2) / class size.

    Args:
        labels: int64 of shape (n,).
        seed: the split seed.

    Returns:
        Sample indices, int64 of shape (n,).
    """
    order = shuffled(len(labels), seed)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    by_class = order[np.argsort(labels[order], kind="stable")]
    counts = np.bincount(labels)
    first = np.cumsum(counts) - counts
    own = labels[by_class]
    progress = (np.arange(len(order)) - first[own] + 0.5) / counts[own]
    return by_class[np.lexsort((place[by_class], progress))]


def cut(order: np.ndarray, *sizes: int, limit: int = 0) -> list[np.ndarray]:
    """Cut an order into consecutive pieces, each sorted: one per size, then the rest, at most `limit` unless 0."""
    pieces = np.split(order, np.cumsum(sizes))
    if limit:
        pieces[-1] = pieces[-1][:limit]
    return [np.sort(piece) for piece in pieces]
