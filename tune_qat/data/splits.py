"""Assignment of samples to splits: a function of the seed alone, the same with every version of every library."""

from collections.abc import Mapping
from typing import Any

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


def held_out(
    order: np.ndarray, size: int, options: Mapping[str, Any], labels: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Split an order without its test samples into validation and training samples, each sorted.

    The first `size` are for validation, and the `train_limit` after them (0: all) are trained on. `subset_seed` s takes
    the s-th piece of as many training samples, counted from 0, so that subsets are disjoint; beyond the last whole
    piece, those of an order shuffled by s. `val_seed` draws the validation samples anew among those that both splits
    have together; a piece is then of both splits.

    Args:
        order: sample indices, int64 of shape (n,).
        size: number of validation samples.
        options: the dataset's options.
        labels: labels of all samples, by which shuffles are stratified; None for samples without.
    """

    def again(part: np.ndarray, seed: int) -> np.ndarray:
        return part[shuffled(len(part), seed) if labels is None else stratified_order(labels[part], seed)]

    def piece(part: np.ndarray, length: int) -> np.ndarray:
        number = options.get("subset_seed", 0)
        if not options.get("train_limit") or len(part) < length:
            return part
        if (number + 1) * length <= len(part):
            return part[number * length : (number + 1) * length]
        return again(part, number)[:length]

    limit, seed = options.get("train_limit", 0), options.get("val_seed", 0)
    if not seed:
        val, train = order[:size], piece(order[size:], limit)
    else:
        val, train = np.split(again(piece(order, size + limit), seed), [size])
    return np.sort(val), np.sort(train)
