"""Map-style torch datasets, read once: into arrays in memory, or into a file that processes map."""

import secrets
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from PIL import Image

from tune_qat.config import TuneQatError, stable_hash
from tune_qat.data.fingerprint import digest
from tune_qat.data.mapped_images import MappedArrays
from tune_qat.data.own_checks import as_array, check_finite, input_type, settled, target_type
from tune_qat.data.pixel_file import DRAFT_SUFFIX, PixelFile, cache_folder, draft, make_room
from tune_qat.data.spec import Arrays

READ_TWICE = 32
"""Items of a split, spread over it, that are read a second time: they must be the same."""
Put = Callable[[int, np.ndarray], None]


@dataclass(frozen=True, kw_only=True)
class ReadItems:
    """Samples of a torch dataset, with the digest of each input."""

    arrays: Arrays
    digests: tuple[bytes, ...]


class Items:
    """A map-style dataset: `len(items)`, and items by number, each an input and a target."""

    def __init__(self, source: Any) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def read(self, name: str, index: Sequence[int], *, in_memory: bool) -> ReadItems:
        """Read the items of these numbers, in order.

        Args:
            name: the dataset, for messages.
            index: numbers of the items.
            in_memory: whether inputs are kept in memory, or in a file.

        Raises:
            ValueError: an item is no pair, is of another shape or type than the first, or is not the same when it is
                read again.
            TuneQatError: a file of the inputs cannot be written.
        """
        first, target = self._item(index[0])
        shape, dtype = first.shape, input_type(first.dtype)
        wanted = target_type(target.dtype, target.ndim + 1)
        targets = np.empty((len(index), *target.shape), wanted)
        digests = []
        with _kept(name, (len(index), *shape), dtype, in_memory=in_memory) as (put, made):
            for place, number in enumerate(index):
                value, answer = self._same_kind(number, first, target)
                row = settled(value, dtype)
                check_finite(row[None], f"inputs of item {number}, as sample 0,")
                put(place, row)
                targets[place] = answer
                digests.append(bytes.fromhex(digest(row)))
            self._check_same_again(index, digests, targets, dtype)
        return ReadItems(arrays=made(targets), digests=tuple(digests))

    def _same_kind(self, number: int, first: np.ndarray, target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        value, answer = self._item(number)
        for what, one, other in (("input", value, first), ("target", answer, target)):
            if (one.shape, one.dtype) != (other.shape, other.dtype):
                raise ValueError(
                    f"the {what} of item {number} is {one.dtype} of shape {one.shape}, but that of the first is "
                    f"{other.dtype} of shape {other.shape}; all must be alike"
                )
        return value, answer

    def _check_same_again(
        self, index: Sequence[int], digests: Sequence[bytes], targets: np.ndarray, dtype: np.dtype
    ) -> None:
        for place in np.unique(np.linspace(0, len(index) - 1, READ_TWICE).astype(int)):
            value, answer = self._item(index[place])
            same = digest(settled(value, dtype)) == digests[place].hex()
            if not same or not np.array_equal(settled(answer, targets.dtype), targets[place]):
                raise ValueError(
                    f"item {index[place]} is another one when it is read again. Items must stay the same: take random "
                    "changes out of the dataset's transforms, and leave augmentation to the task (option augment)"
                )

    def _item(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        try:
            item = self.source[int(number)]
        except Exception as error:  # whatever the user's code raises
            raise ValueError(f"item {number} cannot be read ({type(error).__name__}: {error})") from error
        if not isinstance(item, tuple | list) or len(item) != 2:
            raise ValueError(f"item {number} is no pair of an input and a target, but {type(item).__name__}")
        value, answer = item
        return _pixels(value) if isinstance(value, Image.Image) else as_array(value), as_array(answer)


def _pixels(image: Image.Image) -> np.ndarray:
    """Return an image of 8 bits a channel as uint8 of shape (channels, height, width)."""
    levels = np.asarray(image)
    return levels[None] if levels.ndim == 2 else levels.transpose(2, 0, 1)


@contextmanager
def _kept(
    name: str, shape: tuple[int, ...], dtype: np.dtype, *, in_memory: bool
) -> Iterator[tuple[Put, Callable[[np.ndarray], Arrays]]]:
    """Yield a function that puts inputs in their places, and one that gives the samples at the end."""
    if in_memory:
        inputs = np.empty(shape, dtype)
        yield inputs.__setitem__, lambda targets: Arrays(inputs=inputs, targets=targets)
        return
    file = _provisional(name, shape, dtype)
    with draft(file, name) as made:
        yield made.put, lambda targets: MappedArrays(file=_named_by_content(file), targets=targets)


def _provisional(name: str, shape: tuple[int, ...], dtype: np.dtype) -> PixelFile:
    """Return the file that is written: only its whole content gives it a name, and without one it is a draft."""
    folder = cache_folder()
    file = PixelFile(path=folder / f"{secrets.token_hex(8)}{DRAFT_SUFFIX}", shape=shape, dtype=dtype.name)
    make_room(folder, [file], name)
    return file


def _named_by_content(file: PixelFile) -> PixelFile:
    digests = file.open().digests
    made_of = {"shape": file.shape, "dtype": file.dtype, "content": digest(digests)}
    named = replace(file, path=file.path.with_name(f"own-{stable_hash(made_of)}.npy"))
    try:
        file.path.replace(named.path)
    except OSError as error:
        raise TuneQatError(f"{named.path} cannot be written: {error.strerror}.") from error
    return named
