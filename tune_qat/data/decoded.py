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


Size = tuple[int, int]
"""Height and width, in pixels."""
Put = Callable[[str, int, np.ndarray, Size | None], None]


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
    whole: tuple[int, int, int] | None = None
    """Shape of training images that are kept whole, to be cropped; None where they have `shape`, as all others do."""
    files: Callable[[str], tuple[Path, ...]]
    """Function from an image's name to its file, and others that its pixels depend on."""
    read: Callable[[str], np.ndarray]
    """Function from an image's name to its pixels, uint8 of `shape`; may raise anything."""
    read_whole: Callable[[str], tuple[np.ndarray, Size]] | None = None
    """Function from a training image's name to its pixels, of the shape `whole`, and its file's height and width."""

    def shape_of(self, split: str) -> tuple[int, int, int]:
        """Return the shape of the images of a split."""
        return self.whole if self.is_whole(split) and self.whole else self.shape

    def is_whole(self, split: str) -> bool:
        """Tell whether the images of a split are kept whole."""
        return self.whole is not None and split == "train"


def decode(source: ImageSource, *, in_memory: bool) -> tuple[dict[str, LabelledImages], str]:
    """Return the splits, and the content that the data fingerprint is made of: the same in memory and on disk.

    Raises `TuneQatError` if images cannot be read, or the disk has no room for them.
    """
    return _to_memory(source) if in_memory else _to_disk(source)


def _to_memory(source: ImageSource) -> tuple[dict[str, LabelledImages], str]:
    arrays = {split: np.empty((len(names), *source.shape_of(split)), np.uint8) for split, names in source.names.items()}
    sizes = {split: np.empty((len(names), 2), np.int64) for split, names in source.names.items()}
    digests = {split: [""] * len(names) for split, names in source.names.items()}

    def put(split: str, place: int, pixels: np.ndarray, size: Size | None) -> None:
        arrays[split][place] = pixels
        digests[split][place] = digest(pixels)
        if size is not None:
            sizes[split][place] = size

    _read_into(source, put, list(source.names))
    splits = {
        split: LabelledImages(
            images=array, labels=source.labels[split], sizes=sizes[split] if source.is_whole(split) else None
        )
        for split, array in arrays.items()
    }
    return splits, _content(source, digests)


def _to_disk(source: ImageSource) -> tuple[dict[str, LabelledImages], str]:
    folder = cache_folder()
    files = {
        split: PixelFile(path=folder / _file_name(source, split), shape=(len(names), *source.shape_of(split)))
        for split, names in source.names.items()
    }
    of_sizes = {split: _size_file(file) for split, file in files.items() if source.is_whole(split)}
    all_files = {**files, **{f"{split}, sizes": file for split, file in of_sizes.items()}}
    missing = [split for split in files if any(all_files[name].read() is None for name in _files_of(split, of_sizes))]
    if missing:
        written = {name: all_files[name] for split in missing for name in _files_of(split, of_sizes)}
        make_room(folder, written.values(), source.dataset)
        with ExitStack() as stack:
            drafts = {name: stack.enter_context(draft(file, source.dataset)) for name, file in written.items()}

            def put(split: str, place: int, pixels: np.ndarray, size: Size | None) -> None:
                drafts[split].put(place, pixels)
                if size is not None:
                    drafts[f"{split}, sizes"].put(place, np.array(size, np.int64))

            _read_into(source, put, missing)
    digests = {split: [row.tobytes().hex() for row in file.open().digests] for split, file in files.items()}
    splits: dict[str, LabelledImages] = {
        split: MappedImages(
            file=file,
            labels=source.labels[split],
            sizes=np.array(of_sizes[split].open().images) if split in of_sizes else None,
        )
        for split, file in files.items()
    }
    return splits, _content(source, digests)


def _size_file(images: PixelFile) -> PixelFile:
    """Name the file beside one of whole images that has the heights and widths of theirs."""
    return PixelFile(path=images.path.with_suffix(".sizes.npy"), shape=(images.shape[0], 2), dtype="int64")


def _files_of(split: str, of_sizes: Mapping[str, PixelFile]) -> list[str]:
    return [split, f"{split}, sizes"] if split in of_sizes else [split]


def _read_into(source: ImageSource, put: Put, splits: list[str]) -> None:
    def read(at: tuple[str, int, str]) -> None:
        split, place, name = at
        whole = source.read_whole if source.is_whole(split) else None
        pixels, size = (source.read(name), None) if whole is None else whole(name)
        put(split, place, np.ascontiguousarray(pixels), size)

    places = [(split, place, name) for split in splits for place, name in enumerate(source.names[split])]
    read_all(read, places, lambda at: source.files(at[2])[0])


def _content(source: ImageSource, digests: Mapping[str, list[str]]) -> str:
    """Hash every image's name and digest, whatever split it is in."""
    return stable_hash(
        sorted(pair for split, names in source.names.items() for pair in zip(names, digests[split], strict=True))
    )


def _file_name(source: ImageSource, split: str) -> str:
    """Return a file name with a hash of all that determines the pixels and their order: no other images ever get it."""
    made_of: dict[str, Any] = {
        "format": FORMAT,
        "dataset": source.dataset,
        "options": shaping(source.options),
        "files": [(name, [_stamp(path) for path in source.files(name)]) for name in source.names[split]],
        # Decoders differ in the last bit, and pixels must be the same as with in_memory = true.
        "decoder": [pillow_version, *(features.version(library) for library in ("jpg", "libjpeg_turbo"))],
    }
    if source.is_whole(split):
        made_of["whole"] = source.whole
    return f"{source.dataset}-{stable_hash(made_of)}.npy"


def _stamp(path: Path) -> tuple[int, int] | None:
    """Return size and modification time; None for a missing file, which decoding will report."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
