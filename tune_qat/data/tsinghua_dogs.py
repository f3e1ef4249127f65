"""Tsinghua Dogs (Zou et al., Computational Visual Media 2020): 130 breeds, 70,428 images, low-resolution release.

The lists start with a byte-order mark and name images as `.//200-n000008-Airedale/n107028.jpg`; the boxes of an
image are in `Low-Annotations/200-n000008-Airedale/n107028.jpg.xml`, one `object` per dog with its `bodybndbox`.
"""

from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree

import numpy as np

from tune_qat.config import TuneQatError
from tune_qat.config.regular import IRREGULAR, is_regular
from tune_qat.data.decoded import ImageSource, decode
from tune_qat.data.decoding import Box, centre_square, open_rgb
from tune_qat.data.folders import require
from tune_qat.data.labelled import labelled_dataset
from tune_qat.data.splits import held_out, stratified_order
from tune_qat.data.table import DATASETS
from tune_qat.data.task import Dataset

LIST_FOLDERS = ("TrainAndValList", "TrainValSplit/TrainAndValList", "TrainValSplit", "split", ".")
"""Folders that the lists may be in, depending on the archive of the release and on how it was unpacked."""
VAL_SHARE = 0.05
BOX_MARGIN = 0.1
"""Margin on each side, as a share of the box's width and height: a breed is told by its outline too."""


def load_tsinghua_dogs(data_dir: Path | None, **options: Any) -> Dataset:
    """Load Tsinghua Dogs: `validation.lst` is the test split; a stratified 5 % of `train.lst` is validation.

    Images are decoded once to uint8 squares of `image_size` pixels: the centre of the image, or of the largest
    annotated dog with `use_boxes`. The whole dataset at 224 pixels takes 10.6 GB, in memory or, with `in_memory` false,
    in files that all processes of the machine map and later runs find again (in TUNE_QAT_CACHE, else in the user's
    cache folder); `train_limit` or a smaller `image_size` takes less. With `train_limit` only the images in use are
    decoded and fingerprinted.

    Raises:
        TuneQatError: a folder or list is missing, an image or its annotation cannot be read, or the disk has too little
            room for the decoded images.
    """
    spec = DATASETS["tsinghua_dogs"]
    images = require(spec, data_dir, "low-resolution")
    boxes = require(spec, data_dir, "Low-Annotations") if options["use_boxes"] else None
    source, official = official_lists(data_dir)
    breeds = _breeds(source, official)
    labels = _labels(source, breeds)
    order = stratified_order(labels, options["split_seed"])
    val, train = held_out(order, max(1, round(VAL_SHARE * len(source))), options, labels)
    names = {
        "train": tuple(source[i] for i in train),
        "val": tuple(source[i] for i in val),
        "test": tuple(official),
    }
    size = options["image_size"]
    splits, content = decode(
        ImageSource(
            dataset=spec.name,
            options=options,
            names=names,
            labels={split: _labels(members, breeds) for split, members in names.items()},
            shape=(3, size, size),
            files=lambda name: (images / name, boxes / f"{name}.xml") if boxes else (images / name,),
            read=lambda name: read_image(name, images, boxes, size),
        ),
        in_memory=options["in_memory"],
    )
    return labelled_dataset(
        spec,
        options,
        splits,
        classes=len(breeds),
        content=content,
        members=names,
        names=names,
        train_index=train,
    )


def official_lists(data_dir: Path | None) -> tuple[list[str], list[str]]:
    """Return the names `breed folder/file` in `train.lst` and in `validation.lst`.

    Raises `TuneQatError` if a list is missing or cannot be read.
    """
    spec = DATASETS["tsinghua_dogs"]
    train, test = (
        _read_list(require(spec, data_dir, *(f"{folder}/{name}" for folder in LIST_FOLDERS)))
        for name in ("train.lst", "validation.lst")
    )
    return train, test


def _labels(names: Sequence[str], breeds: dict[str, int]) -> np.ndarray:
    return np.array([breeds[_breed(name)] for name in names], dtype=np.int64)


def read_image(name: str, images: Path, boxes: Path | None, size: int) -> np.ndarray:
    """Return the pixels of an image, uint8 of shape (3, size, size): of all of it, or of the box in its annotation."""
    image = open_rgb(images / name)
    return centre_square(image, size, _body_box(boxes / f"{name}.xml", image.size) if boxes else None)


def _body_box(path: Path, size: tuple[int, int]) -> Box:
    """Return the largest dog's box with its margin, clipped to the image.

    `size` is that of the decoded image: the one in the annotation is not always right.
    """
    text = _text(path)
    if "<!DOCTYPE" in text:  # entities could expand without end
        raise ValueError(f"{path.name} declares a document type, which no annotation of the release does")
    found = [
        tuple(float(body.findtext(side, "")) for side in ("xmin", "ymin", "xmax", "ymax"))
        for body in ElementTree.fromstring(text).iter("bodybndbox")
    ]
    if not found:
        raise ValueError(f"{path.name} has no bodybndbox")
    left, top, right, bottom = max(found, key=lambda box: (box[2] - box[0]) * (box[3] - box[1]))
    dx, dy = BOX_MARGIN * (right - left), BOX_MARGIN * (bottom - top)
    box = max(left - dx, 0.0), max(top - dy, 0.0), min(right + dx, size[0]), min(bottom + dy, size[1])
    if not (box[2] - box[0] >= 1 and box[3] - box[1] >= 1):
        raise ValueError(f"the box in {path.name} is empty or outside of the image")
    return box


def _read_list(path: Path) -> list[str]:
    """Return the names `breed folder/file`, in the list's order."""
    try:
        lines = [line.strip() for line in _text(path).splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        raise TuneQatError(f"{path} cannot be read: {error}. Unpack the lists of the release again.") from None
    names = ["/".join(PurePosixPath(line).parts[-2:]) for line in lines if line]
    if not names or any("/" not in name for name in names):
        raise TuneQatError(f"{path} must name images as './/breed folder/file.jpg', one on each line.")
    return names


def _text(path: Path) -> str:
    if not is_regular(path):
        raise OSError(f"{path.name} {IRREGULAR}")
    return path.read_text(encoding="utf-8-sig")


def _breed(name: str) -> str:
    return name.split("/")[0]


def _breeds(source: list[str], official: list[str]) -> dict[str, int]:
    """Return the class number of each breed folder, in the order of their names."""
    breeds = sorted({_breed(name) for name in source})
    unknown = sorted({_breed(name) for name in official} - set(breeds))
    if unknown:
        raise TuneQatError(f"validation.lst has breeds that train.lst does not have: {', '.join(unknown[:10])}.")
    return {breed: number for number, breed in enumerate(breeds)}
