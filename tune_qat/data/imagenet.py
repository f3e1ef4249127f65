"""ImageNet (Russakovsky et al., IJCV 2015), or any images in torchvision's ImageFolder layout, a folder a class."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torchvision.datasets.folder import IMG_EXTENSIONS

from tune_qat.config import TuneQatError
from tune_qat.data import DATASETS
from tune_qat.data.decoded import ImageSource, decode
from tune_qat.data.decoding import centre_square, open_rgb
from tune_qat.data.folders import require
from tune_qat.data.labelled import labelled_dataset
from tune_qat.data.spec import data_folder_hint
from tune_qat.data.splits import held_out, stratified_order
from tune_qat.data.task import Dataset

VAL_SHARE, MAX_VAL = 0.05, 50_000
NAMED = 10


def load_imagenet(data_dir: Path | None, **options: Any) -> Dataset:
    """Load ImageNet: `val` is the test split; a stratified 5 % of `train`, at most 50,000 images, is validation.

    Images are decoded once to uint8 squares of `image_size` pixels, the centre of an image whose short side is
    256 / 224 times as large. Training shifts and mirrors these, where the papers crop at random from the larger image.
    ImageNet at 224 pixels takes 200 GB: by default in files that all processes of the machine map and later runs find
    again (in TUNE_QAT_CACHE, else in the user's cache folder). `train_limit` or a smaller `image_size` takes less; with
    `train_limit` only the images in use are decoded and fingerprinted.

    Raises:
        TuneQatError: a folder is missing or empty, `train` and `val` have other classes, an image cannot be read, or
            the disk has too little room for the decoded images.
    """
    spec = DATASETS["imagenet"]
    train_folder = require(spec, data_dir, "imagenet/train", "train")
    root = train_folder.parent
    source, official = (_images(root, split) for split in ("train", "val"))
    classes = {name: number for number, name in enumerate(sorted(source))}
    _check_same_classes(root, sorted(source), sorted(official))
    names, labels = _flat(source, classes)
    order = stratified_order(labels, options["split_seed"])
    val, train = held_out(order, max(1, min(MAX_VAL, round(VAL_SHARE * len(names)))), options, labels)
    members = {split: tuple(names[i] for i in index) for split, index in (("train", train), ("val", val))}
    members["test"], test_labels = _flat(official, classes)
    size = options["image_size"]
    splits, content = decode(
        ImageSource(
            dataset=spec.name,
            options=options,
            names=members,
            labels={"train": labels[train], "val": labels[val], "test": test_labels},
            shape=(3, size, size),
            files=lambda name: (root / name,),
            read=lambda name: centre_square(open_rgb(root / name), size),
        ),
        in_memory=options["in_memory"],
    )
    # No names in the record: a million of them would be most of it, and the fingerprint covers them.
    return labelled_dataset(
        spec, options, splits, classes=len(classes), content=content, members=members, train_index=train
    )


def _images(root: Path, split: str) -> dict[str, list[str]]:
    """Return the names `split/class/file` of the images of each class folder, in order."""
    folder = root / split
    folders = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    if not folders:
        raise TuneQatError(data_folder_hint(DATASETS["imagenet"], folder / "<class>"))
    images = {path.name: [file for file in path.iterdir() if file.suffix.lower() in IMG_EXTENSIONS] for path in folders}
    found = {name: sorted(f"{split}/{name}/{file.name}" for file in files) for name, files in images.items()}
    empty = [name for name, files in found.items() if not files]
    if empty:
        raise TuneQatError(
            f"{folder} has class folders without an image: {_some(empty)}. Images are files that end in "
            f"{', '.join(IMG_EXTENSIONS)}. Get the images of these classes, or remove their folders "
            "from train and val."
        )
    return found


def _check_same_classes(root: Path, train: list[str], val: list[str]) -> None:
    for split, other, missing in (
        ("val", "train", sorted(set(train) - set(val))),
        ("train", "val", sorted(set(val) - set(train))),
    ):
        if missing:
            raise TuneQatError(
                f"{root / split} lacks classes that {other} has: {_some(missing)}. Both folders must hold the same "
                "class folders."
            )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - NAMED:,} more" if len(names) > NAMED else ""
    return f"{', '.join(names[:NAMED])}{more}"


def _flat(images: dict[str, list[str]], classes: dict[str, int]) -> tuple[tuple[str, ...], np.ndarray]:
    """Return every name, and its class number as int64 of shape (n,)."""
    names = tuple(name for files in images.values() for name in files)
    labels = [classes[name] for name, files in images.items() for _ in files]
    return names, np.array(labels, dtype=np.int64)
