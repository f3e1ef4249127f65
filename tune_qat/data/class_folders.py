"""Images in torchvision's ImageFolder layout, a folder a class: any images, and ImageNet."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torchvision.datasets.folder import IMG_EXTENSIONS

from tune_qat.config import TuneQatError, UsageError
from tune_qat.data.decoded import ImageSource, decode
from tune_qat.data.decoding import CENTRE, centre_square, open_rgb, whole_square
from tune_qat.data.folders import require
from tune_qat.data.labelled import labelled_dataset
from tune_qat.data.spec import SPLITS, DatasetSpec, data_folder_hint
from tune_qat.data.splits import held_out, stratified_order
from tune_qat.data.table import DATASETS, RESIZED_CROP
from tune_qat.data.task import Dataset

VAL_SHARE, MAX_VAL = 0.1, 5_000
NAMED = 10
LARGER = 1 / CENTRE
"""Side of whole training images over that of their crops, unless an option says it."""


def load_folder(data_dir: Path | None, **options: Any) -> Dataset:
    """Load the images of `train`, `val` and `test`: a missing `val` is cut from `train`, a tenth, at most 5,000.

    Decoded as `load_class_folders` says.
    """
    spec = DATASETS["folder"]
    root = require(spec, data_dir, "train").parent
    folders = {split: split for split in SPLITS if (root / split).is_dir()}
    return load_class_folders(spec, root, folders, options, val_share=VAL_SHARE, max_val=MAX_VAL)


def load_class_folders(
    spec: DatasetSpec,
    root: Path,
    folders: Mapping[str, str],
    options: Mapping[str, Any],
    *,
    val_share: float,
    max_val: int,
) -> Dataset:
    """Load the splits of these folders below `root`; without one for `val`, that is cut from `train`, stratified.

    Images are decoded once to uint8 squares of `image_size` pixels, the centre of an image whose short side is
    256 / 224 times as large. With `augment` resized_crop training images are kept whole instead, as squares of
    `decoded_size` pixels, which `resized_crop` cuts boxes out of. With `in_memory` false they stay in files that all
    processes of the machine map and later runs find again (in TUNE_QAT_CACHE, else in the user's cache folder). With
    `train_limit` only the images in use are decoded and fingerprinted.

    Raises:
        UsageError: an option draws what the folders give.
        TuneQatError: a folder is missing or empty, folders have other classes, an image cannot be read, or the disk has
            too little room for the decoded images.
    """
    found = {split: _images(spec, root, folder) for split, folder in folders.items()}
    classes = {name: number for number, name in enumerate(sorted(found["train"]))}
    for split, folder in folders.items():
        _check_same_classes(root, folders["train"], sorted(found["train"]), folder, sorted(found[split]))
    if "val" in found and options.get("val_seed"):
        raise UsageError(f"Option 'val_seed' draws validation samples anew, but {root / folders['val']} gives them.")
    flat = {split: _flat(images, classes) for split, images in found.items()}
    names, labels = flat["train"]
    order = stratified_order(labels, options["split_seed"])
    size = 0 if "val" in found else max(1, min(max_val, round(val_share * len(names))))
    val, train = held_out(order, size, options, labels)
    cut = {"train": train} if "val" in found else {"train": train, "val": val}
    members = {split: tuple(names[i] for i in index) for split, index in cut.items()}
    targets = {split: labels[index] for split, index in cut.items()}
    for split in found.keys() - {"train"}:
        members[split], targets[split] = flat[split]
    kept = [split for split in SPLITS if split in members]
    pixels = options["image_size"]
    whole = options.get("decoded_size") or round(pixels * LARGER)
    splits, content = decode(
        ImageSource(
            dataset=spec.name,
            options=options,
            names={split: members[split] for split in kept},
            labels={split: targets[split] for split in kept},
            shape=(3, pixels, pixels),
            files=lambda name: (root / name,),
            read=lambda name: centre_square(open_rgb(root / name), pixels),
            whole=(3, whole, whole) if options["augment"] == RESIZED_CROP else None,
            read_whole=lambda name: whole_square(open_rgb(root / name), whole),
        ),
        in_memory=options["in_memory"],
    )
    # No names in the record: a million of them would be most of it, and the fingerprint covers them.
    return labelled_dataset(
        spec, options, splits, classes=len(classes), content=content, members=members, train_index=train
    )


def _images(spec: DatasetSpec, root: Path, split: str) -> dict[str, list[str]]:
    """Return the names `split/class/file` of the images of each class folder, in order."""
    folder = root / split
    folders = sorted(path for path in folder.iterdir() if path.is_dir()) if folder.is_dir() else []
    if not folders:
        raise TuneQatError(data_folder_hint(spec, folder / "<class>"))
    images = {path.name: [file for file in path.iterdir() if file.suffix.lower() in IMG_EXTENSIONS] for path in folders}
    found = {name: sorted(f"{split}/{name}/{file.name}" for file in files) for name, files in images.items()}
    empty = [name for name, files in found.items() if not files]
    if empty:
        raise TuneQatError(
            f"{folder} has class folders without an image: {_some(empty)}. Images are files that end in "
            f"{', '.join(IMG_EXTENSIONS)}. Get the images of these classes, or remove their folders "
            "from all splits."
        )
    return found


def _check_same_classes(root: Path, train: str, of_train: list[str], split: str, of_split: list[str]) -> None:
    for one, other, missing in (
        (split, train, sorted(set(of_train) - set(of_split))),
        (train, split, sorted(set(of_split) - set(of_train))),
    ):
        if missing:
            raise TuneQatError(
                f"{root / one} lacks classes that {other} has: {_some(missing)}. Both folders must hold the same "
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
