"""Handwritten digits that come inside scikit-learn, enlarged to the size that LeNet-5 takes."""

from pathlib import Path
from typing import Any

import numpy as np
from sklearn.datasets import load_digits as read_digits

from tune_qat.data.fingerprint import digest
from tune_qat.data.labelled import labelled_dataset
from tune_qat.data.spec import LabelledImages
from tune_qat.data.splits import held_out, stratified_order
from tune_qat.data.table import DATASETS
from tune_qat.data.task import Dataset

ENLARGE, BORDER = 3, 2
"""Repetition of pixels, from 8 to 24, and border of background on each side: 28 in all, the size of MNIST."""
TEST_SHARE = VAL_SHARE = 0.2


def load_digits(data_dir: Path | None, **options: Any) -> Dataset:
    """Load 1,797 digits of 28 x 28, stratified 60/20/20 into train, validation and test."""
    source = read_digits()
    labels = source.target.astype(np.int64)
    images = _enlarged(source.images)
    n = len(labels)
    order = stratified_order(labels, options["split_seed"])
    test, rest = np.split(order, [round(TEST_SHARE * n)])
    val, train = held_out(rest, round(VAL_SHARE * n), options, labels)
    members = {"train": train, "val": val, "test": np.sort(test)}
    return labelled_dataset(
        DATASETS["digits"],
        options,
        {split: LabelledImages(images=images[index], labels=labels[index]) for split, index in members.items()},
        classes=10,
        content=digest(images, labels),
        members={split: index.tolist() for split, index in members.items()},
        train_index=train,
    )


def _enlarged(images: np.ndarray) -> np.ndarray:
    """Return levels 0..16 of shape (n, 8, 8) as uint8 0..255 of shape (n, 1, 28, 28)."""
    grey = ((images.astype(np.int64) * 255 + 8) // 16).astype(np.uint8)
    enlarged = grey.repeat(ENLARGE, axis=1).repeat(ENLARGE, axis=2)
    return np.pad(enlarged, ((0, 0), (BORDER, BORDER), (BORDER, BORDER)))[:, None]
