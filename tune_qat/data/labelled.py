"""Classification data: the part that all loaders of labelled images share."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tune_qat.config import TuneQatError
from tune_qat.data.fingerprint import data_fingerprint, split_fingerprint
from tune_qat.data.spec import DatasetSpec, LabelledImages, ModelInput
from tune_qat.data.task import Dataset


def labelled_dataset(
    spec: DatasetSpec,
    options: Mapping[str, Any],
    splits: Mapping[str, LabelledImages],
    *,
    classes: int,
    content: Any,
    members: Mapping[str, Sequence[int | str]],
    train_index: np.ndarray,
    names: Mapping[str, tuple[str, ...]] | None = None,
) -> Dataset:
    """Return the dataset of these splits, with its fingerprints and the model input that they imply.

    Args:
        spec: the dataset's line of the table.
        options: every option, resolved.
        splits: images and labels by split.
        classes: number of classes.
        content: content that the data fingerprint is made of, independent of the splits.
        members: source indices or names of the samples by split, which the split fingerprint is made of.
        train_index: source indices of the training samples.
        names: file names by split, if samples have names.

    Raises `TuneQatError` if a split has no images, or its labels do not fit them.
    """
    for split, part in splits.items():
        try:
            check_labels(len(part.images), part.labels, classes)
        except ValueError as error:
            raise TuneQatError(f"Split {split!r} of dataset {spec.name!r} cannot be trained on: {error}.") from None
    # Whole training images are larger than what is cut out of them: the others have the input's shape.
    like = splits["train"] if splits["train"].sizes is None else splits["val"]
    _, channels, height, width = like.images.shape
    return Dataset(
        spec=spec,
        options=options,
        splits=splits,
        fingerprint=data_fingerprint(spec.name, options, content),
        split_fingerprint=split_fingerprint(members),
        names=names,
        train_index=train_index,
        model_input=ModelInput(
            task=spec.task, channels=channels, height=height, width=width, classes=classes, scale=None
        ),
    )


def check_labels(images: int, labels: np.ndarray, classes: int) -> None:
    """Raise `ValueError` unless every one of this number of images has a label, from 0 to below `classes`."""
    if not images:
        raise ValueError("it has no images")
    if len(labels) != images:
        raise ValueError(f"it has {images:,} images and {len(labels):,} labels")
    wrong = np.flatnonzero((labels < 0) | (labels >= classes))
    if len(wrong):
        raise ValueError(
            f"labels are from 0 to {classes - 1}, but that of image {wrong[0]} is {labels[wrong[0]]} "
            f"({len(wrong):,} such in all)"
        )
