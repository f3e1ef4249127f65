"""Decoded images in a file, memory-mapped: all processes of a machine share it through the page cache.

A file is three .npy arrays one after the other, as `numpy.save` writes them into one open file: the images, the SHA-256
digest of each, and how often each channel has each grey level. It is written under a name of its own and renamed when
it is whole, so that of two processes that write the same images the last one wins and neither sees half a file.
"""

import errno
import math
import mmap
import os
import secrets
import shutil
import tempfile
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
from numpy.lib.format import open_memmap

from tune_qat.config import StudyHalted, TuneQatError
from tune_qat.config.regular import check_regular
from tune_qat.config.system import lock, reserve
from tune_qat.data.fingerprint import digest
from tune_qat.data.spec import IMAGE_AXES

CACHE_VARIABLE = "TUNE_QAT_CACHE"
LEVELS = 256
DIGEST_BYTES = 32
DRAFT_SUFFIX = ".tune_qat-draft"
"""Suffix of files that are being written, like no other program's: abandoned ones are removed, other files are not."""
SETTLED_S = 60.0
"""Age in seconds from which a draft without a lock counts as abandoned; a younger one may not have its lock yet."""
FULL = (errno.ENOSPC, errno.EDQUOT)
CANNOT_RESERVE = (errno.EOPNOTSUPP, errno.EINVAL)


class Pixels(NamedTuple):
    """Content of a file of decoded images."""

    images: np.ndarray
    """Array of the file's type and shape, mapped read-only."""
    mapping: mmap.mmap
    """Memory map of the file, with the images from byte `offset` on."""
    offset: int
    digests: np.ndarray
    """uint8 of shape (n, 32)."""
    level_counts: np.ndarray
    """int64 of shape (channels, 256)."""


@dataclass(frozen=True, kw_only=True)
class PixelFile:
    """A file of decoded images, there or still to be written; it is opened on demand."""

    path: Path
    shape: tuple[int, ...]
    """Images, channels, height, width; of other samples their number, and the shape of one."""
    dtype: str = "uint8"

    @property
    def size(self) -> int:
        """Bytes on disk, headers left out."""
        sample = math.prod(self.shape[1:]) * np.dtype(self.dtype).itemsize
        return self.shape[0] * (sample + DIGEST_BYTES) + math.prod(self.levels) * 8

    @property
    def levels(self) -> tuple[int, int]:
        """Shape of the level counts; none are kept of what is no 8-bit image."""
        return _levels(self.dtype, self.shape)

    def read(self) -> Pixels | None:
        """Return the content, with the images mapped; None if the file is missing, incomplete or of another shape."""
        try:
            check_regular(self.path)
            images = open_memmap(self.path, mode="r")
            with self.path.open("rb") as file:
                file.seek(images.offset + images.nbytes)
                digests, level_counts = (np.load(file, allow_pickle=False) for _ in range(2))
                ended = not file.read(1)
        except Exception:  # numpy raises anything at a damaged header, tokenize.TokenError among it
            return None
        expected = [(self.dtype, self.shape), (np.uint8, (self.shape[0], DIGEST_BYTES)), (np.int64, self.levels)]
        found = [(array.dtype, array.shape) for array in (images, digests, level_counts)]
        if not ended or found != expected or not images.flags.c_contiguous:
            return None
        return Pixels(np.asarray(images), cast(mmap.mmap, images.base), images.offset, digests, level_counts)

    def open(self) -> Pixels:
        """Return what `read` returns, for a file that has to be there.

        Raises `StudyHalted` if the file is missing or incomplete: no trial on this machine can do without it.
        """
        pixels = self.read()
        if pixels is None:
            raise StudyHalted(
                f"The decoded images in {self.path} are not on this machine, or damaged: with in_memory = false each "
                f"machine reads its own file.\nSet {CACHE_VARIABLE} to a folder that all nodes see, or use "
                "in_memory = true, which sends the images to them. If this is the machine that decoded them, run "
                "again: missing images are decoded again."
            )
        return pixels


class Draft:
    """A file in the making; `put` may be called from several threads."""

    def __init__(self, images: np.ndarray) -> None:
        self.images = images
        self.digests = np.zeros((len(images), DIGEST_BYTES), np.uint8)
        self.level_counts = np.zeros(_levels(images.dtype.name, images.shape), np.int64)
        self._lock = threading.Lock()

    def put(self, place: int, pixels: np.ndarray) -> None:
        """Write image number `place`, in the file's type and shape, with its digest and level counts."""
        self.images[place] = pixels
        self.digests[place] = np.frombuffer(bytes.fromhex(digest(pixels)), np.uint8)
        if not len(self.level_counts):
            return
        counts = np.stack([np.bincount(channel.ravel(), minlength=LEVELS) for channel in pixels])
        with self._lock:
            self.level_counts += counts


def cache_folder() -> Path:
    """Return the folder of decoded images: TUNE_QAT_CACHE, else `tune_qat` in the user's cache folder."""
    given = os.environ.get(CACHE_VARIABLE)
    if given:
        return Path(given).expanduser().absolute()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tune_qat"


def make_room(folder: Path, files: Iterable[PixelFile], dataset: str) -> None:
    """Make the folder, remove the drafts of killed processes, and check that there is room for the files.

    Raises `TuneQatError` if the folder cannot be made, or has too little room.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _not_writable(folder, error) from error
    _remove_abandoned(folder)
    needed, free = sum(file.size for file in files), shutil.disk_usage(folder).free
    if needed > free:
        raise _too_full(dataset, needed, folder, free)


@contextmanager
def draft(file: PixelFile, dataset: str) -> Iterator[Draft]:
    """Yield a draft to fill, which becomes the file when the block ends, and is removed if it ends in an error.

    Raises `TuneQatError` if the file cannot be written, or the disk has become too full.
    """
    path = file.path.with_name(f"{file.path.name}.{secrets.token_hex(8)}{DRAFT_SUFFIX}")
    try:
        with path.open("x+b") as handle:
            with suppress(OSError):  # not every file system has locks
                lock(handle)
            images = open_memmap(path, mode="w+", dtype=np.dtype(file.dtype), shape=file.shape)
            _reserve(handle.fileno(), images.offset + images.nbytes)
            made = Draft(images)
            yield made
            images.flush()
            handle.seek(images.offset + images.nbytes)
            np.save(handle, made.digests)
            np.save(handle, made.level_counts)
            handle.flush()
            os.fsync(handle.fileno())
        path.replace(file.path)
    except OSError as error:
        if error.errno in FULL:
            raise _too_full(dataset, file.size, path.parent, shutil.disk_usage(path.parent).free) from error
        raise _not_writable(path.parent, error) from error
    finally:
        path.unlink(missing_ok=True)


def _levels(dtype: str, shape: tuple[int, ...]) -> tuple[int, int]:
    return shape[1] if dtype == "uint8" and len(shape) == IMAGE_AXES + 1 else 0, LEVELS


def _reserve(descriptor: int, size: int) -> None:
    """Take the disk space at once: on a disk that fills up later, writing to a mapped file would kill the process."""
    try:
        reserve(descriptor, size)
    except OSError as error:
        if error.errno not in CANNOT_RESERVE:
            raise


def _remove_abandoned(folder: Path) -> None:
    """Remove the drafts of processes that were killed: a living process holds a lock on its draft."""
    drafts = list(folder.glob(f"*{DRAFT_SUFFIX}"))
    now = _time_of(folder) if drafts else 0.0
    for path in drafts:
        with suppress(OSError), path.open("r+b") as handle:
            if now - os.fstat(handle.fileno()).st_mtime > SETTLED_S:
                lock(handle, wait=False)
                path.unlink()


def _time_of(folder: Path) -> float:
    """Return the time by the clock that stamps the folder's files: a file server's may differ from this machine's."""
    try:
        with tempfile.TemporaryFile(dir=folder) as new:
            return os.fstat(new.fileno()).st_mtime
    except OSError:  # nothing can be written here: nothing is removed
        return 0.0


def _too_full(dataset: str, needed: int, folder: Path, free: int) -> TuneQatError:
    return TuneQatError(
        f"The decoded images of dataset {dataset!r} (in_memory = false) need {needed / 1e9:,.3f} GB in {folder}, which "
        f"has {free / 1e9:,.3f} GB free.\n"
        f"Set {CACHE_VARIABLE} to a folder on a larger disk, or lower image_size or train_limit."
    )


def _not_writable(folder: Path, error: OSError) -> TuneQatError:
    return TuneQatError(
        f"Decoded images (in_memory = false) cannot be written to {folder}: {error.strerror}.\n"
        f"Set {CACHE_VARIABLE} to a folder that you may write to, or use in_memory = true."
    )
