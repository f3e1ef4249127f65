"""Tsinghua Dogs (Zou et al., Computational Visual Media 2020): 130 breeds, 70,428 images, low-resolution release.

The lists start with a byte-order mark and name images as `.//200-n000008-Airedale/n107028.jpg`; the boxes of an
image are in `Low-Annotations/200-n000008-Airedale/n107028.jpg.xml`, one `object` per dog with its `bodybndbox`.
"""

from pathlib import Path, PurePosixPath
from typing import Any
from xml.etree import ElementTree

import numpy as np
from PIL import Image

from tune_qat.config import TuneQatError, stable_hash
from tune_qat.data import DATASETS
from tune_qat.data.base import Dataset, LabelledImages
from tune_qat.data.decoding import open_rgb, read_all
from tune_qat.data.fingerprint import digest
from tune_qat.data.folders import require
from tune_qat.data.labelled import labelled_dataset
from tune_qat.data.splits import cut, stratified_order

LIST_FOLDERS = ("TrainAndValList", "TrainValSplit/TrainAndValList", "TrainValSplit", "split", ".")
"""Where the lists end up, by which of the release's archives they come from and how it is unpacked."""
VAL_SHARE = 0.05
BOX_MARGIN = 0.1
"""Of the box's width and height, on each side: a breed is told by its outline too."""
CENTRE = 224 / 256
"""Share of the short side that is kept: the usual evaluation crop of ImageNet models."""
Box = tuple[float, float, float, float]


def load_tsinghua_dogs(data_dir: Path | None, **options: Any) -> Dataset:
    """`validation.lst` is the test split; a stratified 5 % of `train.lst` is validation.

    Images are decoded once to uint8 squares of `image_size` pixels: the centre of the image, or of the largest
    annotated dog with `use_boxes`. The whole dataset at 224 pixels takes 10.6 GB; `train_limit` or a smaller
    `image_size` takes less. With `train_limit` only the images in use are decoded and fingerprinted.

    Raises:
        TuneQatError: a folder or list is missing, an image or its annotation cannot be read.
    """
    spec = DATASETS["tsinghua_dogs"]
    images = require(spec, data_dir, "low-resolution")
    boxes = require(spec, data_dir, "Low-Annotations") if options["use_boxes"] else None
    source, official = (
        _read_list(require(spec, data_dir, *(f"{folder}/{name}" for folder in LIST_FOLDERS)))
        for name in ("train.lst", "validation.lst")
    )
    breeds = _breeds(source, official)
    labels = np.array([breeds[_breed(name)] for name in source], dtype=np.int64)
    order = stratified_order(labels, options["split_seed"])
    val, train = cut(order, max(1, round(VAL_SHARE * len(source))), limit=options["train_limit"])
    names = {
        "train": tuple(source[i] for i in train),
        "val": tuple(source[i] for i in val),
        "test": tuple(official),
    }
    decoded, content = _decode(names, images, boxes, options["image_size"])
    splits = {
        split: LabelledImages(
            images=decoded[split],
            labels=np.array([breeds[_breed(name)] for name in members], dtype=np.int64),
        )
        for split, members in names.items()
    }
    return labelled_dataset(spec, options, splits, classes=len(breeds), content=content, members=names, names=names)


def _decode(
    names: dict[str, tuple[str, ...]], images: Path, boxes: Path | None, size: int
) -> tuple[dict[str, np.ndarray], str]:
    """Images by split, each decoded straight into its place, and the digest of all of them."""
    decoded = {split: np.empty((len(members), 3, size, size), np.uint8) for split, members in names.items()}
    places = [(split, i, name) for split, members in names.items() for i, name in enumerate(members)]

    def read(place: tuple[str, int, str]) -> tuple[str, str]:
        split, i, name = place
        image = open_rgb(images / name)
        box = (
            _body_box(boxes / f"{name}.xml", image.size)
            if boxes
            else (0.0, 0.0, float(image.width), float(image.height))
        )
        decoded[split][i] = np.asarray(_square(image, box, size)).transpose(2, 0, 1)
        return name, digest(decoded[split][i])

    return decoded, stable_hash(sorted(read_all(read, places, lambda place: images / place[2])))


def _square(image: Image.Image, box: Box, size: int) -> Image.Image:
    """The centre square of the box, resized in one step (antialiased bilinear, as in torchvision's `Resize`)."""
    left, top, right, bottom = box
    half = CENTRE * min(right - left, bottom - top) / 2
    x, y = (left + right) / 2, (top + bottom) / 2
    return image.resize((size, size), Image.Resampling.BILINEAR, box=(x - half, y - half, x + half, y + half))


def _body_box(path: Path, size: tuple[int, int]) -> Box:
    """The largest dog's box with its margin, within the image; the file's own image size is not always right."""
    text = path.read_text(encoding="utf-8-sig")
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
    """Names `breed folder/file`, in the list's order."""
    lines = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines()]
    names = ["/".join(PurePosixPath(line).parts[-2:]) for line in lines if line]
    if not names or any("/" not in name for name in names):
        raise TuneQatError(f"{path} must name images as './/breed folder/file.jpg', one on each line.")
    return names


def _breed(name: str) -> str:
    return name.split("/")[0]


def _breeds(source: list[str], official: list[str]) -> dict[str, int]:
    """Class number of each breed folder, in the order of their names."""
    breeds = sorted({_breed(name) for name in source})
    unknown = sorted({_breed(name) for name in official} - set(breeds))
    if unknown:
        raise TuneQatError(f"validation.lst has breeds that train.lst does not have: {', '.join(unknown[:10])}.")
    return {breed: number for number, breed in enumerate(breeds)}
