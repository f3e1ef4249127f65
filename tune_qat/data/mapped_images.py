"""Samples whose inputs stay on disk."""

import mmap
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import numpy as np

from tune_qat.data.pixel_file import PixelFile, Pixels
from tune_qat.data.spec import Arrays, LabelledImages


class InFile:
    """Inputs that stay in a file; pickled without them, and opened by each process itself."""

    file: PixelFile

    @cached_property
    def _pixels(self) -> Pixels:
        return self.file.open()

    @property
    def level_counts(self) -> np.ndarray:
        """Count of each grey level in each channel, int64 of shape (channels, 256), stored beside the images."""
        return self._pixels.level_counts

    def will_need(self, places: Iterable[int]) -> None:
        """Ask the system to read these samples from the disk, all at once and without their neighbours.

        Without it, each is read when it is touched, one after the other, with megabytes of neighbours that a random
        order does not need.
        """
        pixels = self._pixels
        size = pixels.images[0].nbytes
        for place in places:
            start = pixels.offset + place * size
            page = start // mmap.PAGESIZE * mmap.PAGESIZE
            pixels.mapping.madvise(mmap.MADV_WILLNEED, page, start + size - page)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "_pixels"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)


class MappedImages(InFile, LabelledImages):
    """Labelled images whose pixels stay in a file."""

    def __init__(self, *, file: PixelFile, labels: np.ndarray, sizes: np.ndarray | None = None) -> None:
        self.__setstate__({"file": file, "labels": labels, "sizes": sizes})

    @property
    def images(self) -> np.ndarray:
        """Images, uint8 of shape (n, channels, height, width), mapped read-only; `TuneQatError` without the file."""
        return self._pixels.images


class MappedArrays(InFile, Arrays):
    """Samples whose inputs stay in a file."""

    def __init__(self, *, file: PixelFile, targets: np.ndarray) -> None:
        self.__setstate__({"file": file, "targets": targets})

    @property
    def inputs(self) -> np.ndarray:
        """Inputs of shape (n, ...), mapped read-only; `TuneQatError` without the file."""
        return self._pixels.images
