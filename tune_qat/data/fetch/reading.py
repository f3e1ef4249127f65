"""A data set read once by the project's own readers: how many samples there are, and of what shape."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tune_qat import data
from tune_qat.data.fetch.sources import Source
from tune_qat.data.table import DATASETS

SIDE = 16
"""Side in pixels that photographs of dogs are cut to, which is enough to decode all of each."""


@dataclass(frozen=True, kw_only=True)
class Found:
    """Samples that were read."""

    train: int
    """Number of samples of training and validation."""
    test: int
    what: str
    """Shape of the samples, in words."""


def read(source: Source, folder: Path) -> Found:
    """Read and decode every sample of a data set. Photographs are not kept: any number takes little memory.

    Raises:
        TuneQatError: files are missing, damaged, or not what the reader takes.
    """
    readers: dict[str, Callable[[Path], Found]] = {"div2k": _div2k, "tsinghua_dogs": _dogs}
    return readers[source.name](folder) if source.name in readers else _small(source.name, folder)


def _small(name: str, folder: Path) -> Found:
    dataset = data.load(name, data_dir=folder)
    shape = " x ".join(map(str, dataset.model_input.shape))
    sizes = dataset.sizes
    return Found(train=sizes["train"] + sizes["val"], test=sizes["test"], what=f"images of {shape}")


def _div2k(folder: Path) -> Found:
    from tune_qat.data.decoding import open_rgb, read_all
    from tune_qat.data.div2k import official_files

    train, test = official_files(folder)
    sizes = read_all(lambda path: open_rgb(path).size, [*train, *test], lambda path: path)
    width, height = (max(sides) for sides in zip(*sizes, strict=True))
    return Found(train=len(train), test=len(test), what=f"images of at most {width} x {height} pixels")


def _dogs(folder: Path) -> Found:
    from tune_qat.data.decoding import read_all
    from tune_qat.data.folders import require
    from tune_qat.data.tsinghua_dogs import official_lists, read_image

    train, test = official_lists(folder)
    images = require(DATASETS["tsinghua_dogs"], folder, "low-resolution")
    boxes = folder / "Low-Annotations"
    annotated = boxes if boxes.is_dir() else None
    read_all(lambda name: len(read_image(name, images, annotated, SIDE)), [*train, *test], lambda name: images / name)
    breeds = len({name.split("/")[0] for name in train})
    return Found(
        train=len(train),
        test=len(test),
        what=f"photographs of {breeds} breeds, {'each with a box' if annotated else 'without Low-Annotations'}",
    )
