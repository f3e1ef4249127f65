"""MNIST, Fashion-MNIST and CIFAR-10 as torchvision lays them out on disk. Never downloads by itself."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from torchvision import datasets

from tune_qat.config import TuneQatError
from tune_qat.config.regular import check_regular
from tune_qat.data.fingerprint import digest
from tune_qat.data.folders import require
from tune_qat.data.labelled import check_labels, labelled_dataset
from tune_qat.data.spec import DatasetSpec, LabelledImages
from tune_qat.data.splits import held_out, stratified_order
from tune_qat.data.table import DATASETS
from tune_qat.data.task import Dataset

CLASSES = 10
MAX_VAL = 5_000
"""Largest number of validation images; a tenth of the training images if that is fewer."""
Reader = Callable[..., Any]


def load_mnist(data_dir: Path | None, **options: Any) -> Dataset:
    """Load MNIST; validation is held out of the official training set."""
    return _load(DATASETS["mnist"], datasets.MNIST, "MNIST/raw", data_dir, options)


def load_fashion_mnist(data_dir: Path | None, **options: Any) -> Dataset:
    """Load Fashion-MNIST; validation is held out of the official training set."""
    return _load(DATASETS["fashion_mnist"], datasets.FashionMNIST, "FashionMNIST/raw", data_dir, options)


def load_cifar10(data_dir: Path | None, **options: Any) -> Dataset:
    """Load CIFAR-10; validation is held out of the official training set. torchvision checks the files' MD5."""
    return _load(DATASETS["cifar10"], datasets.CIFAR10, "cifar-10-batches-py", data_dir, options)


def _load(spec: DatasetSpec, reader: Reader, folder: str, data_dir: Path | None, options: dict[str, Any]) -> Dataset:
    path = require(spec, data_dir, folder)
    try:
        for file in path.glob("*ubyte*" if "raw" in folder else "*batch*"):
            check_regular(file)
        source, test = (_arrays(reader(data_dir, train=train, download=False)) for train in (True, False))
    except Exception as error:  # RuntimeError for missing files, anything for damaged ones
        raise TuneQatError(
            f"The files of dataset {spec.name!r} in {path} are incomplete or damaged: {error}\n"
            f"Remove that folder and get the data again: {spec.how_to_get}"
        ) from error
    order = stratified_order(source.labels, options["split_seed"])
    val, train = held_out(order, min(MAX_VAL, len(order) // 10), options, source.labels)
    members = {"train": train, "val": val}
    held = {
        split: LabelledImages(images=source.images[index], labels=source.labels[index])
        for split, index in members.items()
    }
    return labelled_dataset(
        spec,
        options,
        held | {"test": test},
        classes=CLASSES,
        content=digest(source.images, source.labels, test.images, test.labels),
        members={split: index.tolist() for split, index in members.items()} | {"test": ["official"]},
        train_index=train,
    )


def _arrays(source: Any) -> LabelledImages:
    images = np.asarray(source.data)
    images = images[:, None] if images.ndim == 3 else images.transpose(0, 3, 1, 2)
    labels = np.asarray(source.targets, dtype=np.int64)
    check_labels(len(images), labels, CLASSES)
    return LabelledImages(images=np.ascontiguousarray(images), labels=labels)
