"""Checks of arrays that come from a user: types, numbers, labels. Each says what is wrong as a `ValueError`."""

from collections.abc import Iterator
from typing import Any

import numpy as np

_AT_ONCE = 4_096
KEPT_INTEGERS = ("uint8", "int8", "int16", "int32", "int64")
"""Integer types that torch has all operations for."""


def as_array(value: Any) -> np.ndarray:
    """Return an array, a tensor or plain numbers as an array."""
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    return np.asarray(value)


def input_type(dtype: np.dtype) -> np.dtype:
    """Return the type that inputs of a type are stored in: uint8, float32, or integers of ids as they are."""
    return np.dtype("uint8") if dtype.kind == "b" else _stored(dtype, "inputs")


def target_type(dtype: np.dtype, axes: int) -> np.dtype:
    """Return the type that targets of a type are stored in; labels of whole samples, with one axis, as int64."""
    if axes == 1 and dtype.kind in "biu":
        return np.dtype("int64")
    return np.dtype("uint8") if dtype.kind == "b" else _stored(dtype, "targets")


def settled(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """Return the array in this type, contiguous; copied only where it has to be."""
    with np.errstate(over="ignore"):  # what is too large becomes infinite, and is refused as that
        return np.asarray(array, dtype, order="C")


def check_finite(array: np.ndarray, what: str) -> None:
    """Refuse NaN and infinite numbers."""
    if array.dtype.kind != "f":
        return
    wrong = [start + np.flatnonzero(~np.isfinite(rows).all(axis=1)) for start, rows in _rows(array)]
    found = np.concatenate(wrong) if wrong else np.zeros(0, np.int64)
    if len(found):
        raise ValueError(f"{what} of sample {found[0]} are not finite in float32 ({len(found):,} such samples in all)")


def check_classes(targets: np.ndarray, outputs: int, ignored: int | None) -> None:
    """Refuse labels below 0, or as large as the number of classes; `ignored` is no class and allowed."""
    if targets.dtype.kind == "f":
        return
    for start, rows in _rows(targets):
        wrong = (rows < 0) | (rows >= outputs)
        if ignored is not None:
            wrong &= rows != ignored
        if wrong.any():
            place = int(np.flatnonzero(wrong.any(axis=1))[0])
            label = rows[place][wrong[place]][0]
            raise ValueError(
                f"labels are from 0 to {outputs - 1}, the largest in train, but that of sample {start + place} is "
                f"{label}"
            )


def _rows(array: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Yield a few thousand samples at a time, each as a row, with the number of the first."""
    for start in range(0, len(array), _AT_ONCE):
        chunk = array[start : start + _AT_ONCE]
        yield start, chunk.reshape(len(chunk), -1)


def _stored(dtype: np.dtype, what: str) -> np.dtype:
    if dtype.kind == "f":
        return np.dtype("float32")
    if dtype.kind in "iu":
        return dtype.newbyteorder("=") if dtype.name in KEPT_INTEGERS else np.dtype("int64")
    raise ValueError(f"{what} are of type {dtype}, but must be floats or whole numbers")
