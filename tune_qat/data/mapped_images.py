"""Labelled images whose pixels stay on disk."""

import mmap
from collections.abc import Iterable
from functools import cached_property
from typing import Any

import numpy as np

from tune_qat.data.pixel_file import PixelFile, Pixels
from tune_qat.data.spec import LabelledImages


class MappedImages(LabelledImages):
    """Labelled images whose pixels stay in a file; pickled without them, and opened by each process itself."""

    def __init__(self, *, file: PixelFile, labels: np.ndarray) -> None:
        self.__setstate__({"file": file, "labels": labels})

    file: PixelFile

    @cached_property
    def _pixels(self) -> Pixels:
        return self.file.open()

    @property
    def images(self) -> np.ndarray:
        """Images, uint8 of shape (n, channels, height, width), mapped read-only; `TuneQatError` without the file."""
        return self._pixels.images

    @property
    def level_counts(self) -> np.ndarray:
        """Count of each grey level in each channel, int64 of shape (channels, 256), stored beside the images."""
        return self._pixels.level_counts

    def will_need(self, places: Iterable[int]) -> None:
        """Ask the system to read these images from the disk, all at once and without their neighbours.

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
        return {"file": self.file, "labels": self.labels}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
