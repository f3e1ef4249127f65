"""Image files decoded once: into arrays in memory, or into files on disk that later runs find again."""

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import __version__ as pillow_version
from PIL import features

from tune_qat.config import stable_hash
from tune_qat.data.decoding import read_all
from tune_qat.data.fingerprint import digest, shaping
from tune_qat.data.mapped_images import MappedImages
from tune_qat.data.pixel_file import PixelFile, cache_folder, draft, make_room
from tune_qat.data.spec import LabelledImages

FORMAT = 1
"""Version of the files on disk: with another number, all of them are made anew."""


@dataclass(frozen=True, kw_only=True)
class ImageSource:
    """The images of a labelled dataset, and how one of them becomes pixels."""

    dataset: str
    options: Mapping[str, Any]
    """Every option, resolved."""
    names: Mapping[str, tuple[str, ...]]
    """Names of the images, by split."""
    labels: Mapping[str, np.ndarray]
    """Labels of the images, by split: int64 of shape (n,)."""
    shape: tuple[int, int, int]
    """Channels, height, width."""
    files: Callable[[str], tuple[Path, ...]]
    """Function from an image's name to its file, and others that its pixels depend on."""
    read: Callable[[str], np.ndarray]
    """Function from an image's name to its pixels, uint8 of `shape`; may raise anything."""


def decode(source: ImageSource, *, in_memory: bool) -> tuple[dict[str, LabelledImages], str]:
    """Return the splits, and the content that the data fingerprint is made of: the same in memory and on disk.

    Raises `TuneQatError` if images cannot be read, or the disk has no room for them.
    """
    return _to_memory(source) if in_memory else _to_disk(source)


def _to_memory(source: ImageSource) -> tuple[dict[str, LabelledImages], str]:
    arrays = {split: np.empty((len(names), *source.shape), np.uint8) for split, names in source.names.items()}
    digests = {split: [""] * len(names) for split, names in source.names.items()}

    def put(split: str, place: int, pixels: np.ndarray) -> None:
        arrays[split][place] = pixels
        digests[split][place] = digest(pixels)

    _read_into(source, put, list(source.names))
    splits = {split: LabelledImages(images=array, labels=source.labels[split]) for split, array in arrays.items()}
    return splits, _content(source, digests)


def _to_disk(source: ImageSource) -> tuple[dict[str, LabelledImages], str]:
    folder = cache_folder()
    files = {
        split: PixelFile(path=folder / _file_name(source, split), shape=(len(names), *source.shape))
        for split, names in source.names.items()
    }
    missing = [split for split, file in files.items() if file.read() is None]
    if missing:
        make_room(folder, [files[split] for split in missing], source.dataset)
        with ExitStack() as stack:
            drafts = {split: stack.enter_context(draft(files[split], source.dataset)) for split in missing}
            _read_into(source, lambda split, place, pixels: drafts[split].put(place, pixels), missing)
    digests = {split: [row.tobytes().hex() for row in file.open().digests] for split, file in files.items()}
    splits: dict[str, LabelledImages] = {
        split: MappedImages(file=file, labels=source.labels[split]) for split, file in files.items()
    }
    return splits, _content(source, digests)


def _read_into(source: ImageSource, put: Callable[[str, int, np.ndarray], None], splits: list[str]) -> None:
    places = [(split, place, name) for split in splits for place, name in enumerate(source.names[split])]
    read_all(
        lambda at: put(at[0], at[1], np.ascontiguousarray(source.read(at[2]))),
        places,
        lambda at: source.files(at[2])[0],
    )


def _content(source: ImageSource, digests: Mapping[str, list[str]]) -> str:
    """Hash every image's name and digest, whatever split it is in."""
    return stable_hash(
        sorted(pair for split, names in source.names.items() for pair in zip(names, digests[split], strict=True))
    )


def _file_name(source: ImageSource, split: str) -> str:
    """Return a file name with a hash of all that determines the pixels and their order: no other images ever get it."""
    made_of = {
        "format": FORMAT,
        "dataset": source.dataset,
        "options": shaping(source.options),
        "files": [(name, [_stamp(path) for path in source.files(name)]) for name in source.names[split]],
        # Decoders differ in the last bit, and pixels must be the same as with in_memory = true.
        "decoder": [pillow_version, *(features.version(library) for library in ("jpg", "libjpeg_turbo"))],
    }
    return f"{source.dataset}-{stable_hash(made_of)}.npy"


def _stamp(path: Path) -> tuple[int, int] | None:
    """Return size and modification time; None for a missing file, which decoding will report."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
