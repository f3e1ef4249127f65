"""Samples that two splits share: refused where they are the same ones, counted where only their content is."""

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import numpy as np

from tune_qat.config import UsageError

_MOST_WORK = 100_000
"""Steps that numpy may take to find out whether two views overlap: slices take few."""


def check_apart(name: str, sources: Mapping[str, Any]) -> None:
    """Refuse splits that take the same samples of one array, or of one torch dataset.

    Args:
        name: the dataset, for the message.
        sources: by split, its input array or its torch dataset.
    """
    for (one, first), (other, second) in combinations(sources.items(), 2):
        shared = _shared(first, second)
        if shared is not None:
            raise UsageError(
                f"Dataset {name!r} has the same samples in {one} and in {other}{shared}. Each sample may be in one "
                "split: scores on samples that a model was trained or chosen on say nothing."
            )


def shared_contents(digests: Mapping[str, Sequence[bytes]]) -> list[str]:
    """Say in words how many samples of a split have inputs that are in another split, too; nothing if there are none.

    Args:
        digests: by split, a digest of each sample's input.
    """
    found = []
    for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
        known = set(digests.get(one, ()))
        again = sum(digest in known for digest in digests.get(other, ()))
        if again:
            found.append(f"{again:,} of {len(digests[other]):,} samples of {other} are in {one}, too")
    return found


def _shared(first: Any, second: Any) -> str | None:
    """Say what two sources share; None where nothing is known to be shared."""
    if first is second:
        return ", which are one object"
    if isinstance(first, np.ndarray) and isinstance(second, np.ndarray):
        try:
            shares = np.shares_memory(first, second, max_work=_MOST_WORK)  # type: ignore[arg-type]  # any number
            return ": they share memory" if shares else None
        except np.exceptions.TooHardError:
            return None
    (whole, taken), (other, also) = _members(first), _members(second)
    if whole is not other:
        return None
    common = sorted(set(taken) & set(also))
    return f": index {common[0]} of the whole dataset, and {len(common) - 1:,} more" if common else None


def _members(source: Any) -> tuple[Any, Sequence[int]]:
    """Return the dataset that a `Subset`, of a subset even, is of, and the indices that it takes of that."""
    if not hasattr(source, "dataset") or not hasattr(source, "indices"):
        return source, range(len(source))
    whole, taken = _members(source.dataset)
    return whole, [taken[int(i)] for i in source.indices]
