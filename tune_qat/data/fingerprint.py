"""Identity of data and of splits, for trial keys and for the record."""

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tune_qat.config import STORAGE_OPTIONS, stable_hash

SAMPLING_OPTIONS = frozenset(
    {
        *("split_seed", "train_limit", "subset_seed", "val_seed", "augment", "decoded_size"),
        *("patch_size", "patches_per_image"),
    }
).union(STORAGE_OPTIONS)
"""Options that choose among the samples, vary them or say where they are kept, without changing the stored arrays."""


def digest(*arrays: np.ndarray) -> str:
    """Hash arrays by SHA-256: their types, shapes and values."""
    sha256 = hashlib.sha256()
    for array in arrays:
        sha256.update(f"{array.dtype.str}{array.shape}".encode())
        sha256.update(np.ascontiguousarray(array).data)
    return sha256.hexdigest()


def shaping(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options that shape the stored arrays."""
    return {key: value for key, value in options.items() if key not in SAMPLING_OPTIONS}


def data_fingerprint(dataset: str, options: Mapping[str, Any], content: Any) -> str:
    """Hash a dataset's content (digests, and names where samples have names) and the options that shape it."""
    return stable_hash({"dataset": dataset, "options": shaping(options), "content": content})


def split_fingerprint(members: Mapping[str, Sequence[int | str]]) -> str:
    """Hash the samples (source indices or names) of each split, whatever their order."""
    return stable_hash({split: sorted(samples) for split, samples in members.items()})
