"""Images from files, many at a time; those that cannot be read are named and counted, never skipped."""

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from PIL import Image

from tune_qat.config import TuneQatError
from tune_qat.config.regular import IRREGULAR, is_regular

NAMED_FAILURES = 10
CENTRE = 224 / 256
"""Share of the short side that is kept: the usual evaluation crop of ImageNet models."""
Box = tuple[float, float, float, float]
"""Left, top, right, bottom, in pixels."""
Item = TypeVar("Item")
Result = TypeVar("Result")


def open_rgb(path: Path) -> Image.Image:
    """Return the decoded image with three channels: grey is repeated, alpha is dropped, EXIF orientation is ignored.

    Raises `ValueError` if the file has more than 8 bits per channel, which Pillow would clip silently.
    """
    if not is_regular(path):
        raise ValueError(f"it {IRREGULAR}")
    with Image.open(path) as image:
        if image.mode.startswith(("I", "F")):
            raise ValueError(f"its mode is {image.mode!r}; only images with 8 bits per channel are supported")
        return image.convert("RGB")


def centre_square(image: Image.Image, size: int, box: Box | None = None) -> np.ndarray:
    """Return the centre square of the box, or of the whole image, uint8 of shape (3, size, size).

    It is cropped and resized in one step, antialiased and bilinear as by torchvision's `Resize` (to 256 at a size of
    224) and `CenterCrop`.
    """
    left, top, right, bottom = box or (0.0, 0.0, float(image.width), float(image.height))
    half = CENTRE * min(right - left, bottom - top) / 2
    x, y = (left + right) / 2, (top + bottom) / 2
    square = image.resize((size, size), Image.Resampling.BILINEAR, box=(x - half, y - half, x + half, y + half))
    return np.asarray(square).transpose(2, 0, 1)


def whole_square(image: Image.Image, size: int) -> tuple[np.ndarray, tuple[int, int]]:
    """Return the whole image squeezed into a square, uint8 of shape (3, size, size), and its own height and width.

    Antialiased and bilinear, as `centre_square`.
    """
    square = image.resize((size, size), Image.Resampling.BILINEAR)
    return np.asarray(square).transpose(2, 0, 1), (image.height, image.width)


def read_all(read: Callable[[Item], Result], items: Sequence[Item], path_of: Callable[[Item], Path]) -> list[Result]:
    """Return `read(item)` for every item, in order, from a thread pool (image decoders release Python's lock).

    Args:
        read: function that reads one image and may raise anything.
        items: images to read.
        path_of: function that returns the file of an item, for the message.

    Raises:
        TuneQatError: some items cannot be read; the message names the first ten with the reason, and counts them all.
    """

    def attempt(item: Item) -> tuple[Result | None, str]:
        try:
            return read(item), ""
        except Exception as error:  # decoders raise anything, struct.error and SyntaxError among them
            return None, f"{path_of(item)}: {_reason(error)}"

    with ThreadPoolExecutor(max_workers=min(16, os.cpu_count() or 1)) as pool:
        attempts = list(pool.map(attempt, items))
    failures = [failure for _, failure in attempts if failure]
    if failures:
        raise TuneQatError(_message(failures, len(items)))
    return [result for result, _ in attempts]  # type: ignore[misc]  # no failure: each has its result


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:  # of a file, which is not always the image itself
        return f"{error.strerror}: {Path(error.filename).name}" if error.filename else error.strerror
    return str(error) or type(error).__name__


def _message(failures: Sequence[str], n: int) -> str:
    lines = [f"{len(failures):,} of {n:,} images cannot be read:"]
    lines += [f"  {failure}" for failure in failures[:NAMED_FAILURES]]
    if len(failures) > NAMED_FAILURES:
        lines.append(f"  ... and {len(failures) - NAMED_FAILURES:,} more")
    lines.append("Replace these files, or remove them from the data and its lists, and run again.")
    return "\n".join(lines)
