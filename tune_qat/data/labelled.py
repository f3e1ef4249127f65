"""Classification data: the part that all loaders of labelled images share."""

from collections.abc import Mapping, Sequence
from typing import Any

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
        names: file names by split, if samples have names.
    """
    _, channels, height, width = splits["train"].images.shape
    return Dataset(
        spec=spec,
        options=options,
        splits=splits,
        fingerprint=data_fingerprint(spec.name, options, content),
        split_fingerprint=split_fingerprint(members),
        names=names,
        model_input=ModelInput(
            task=spec.task, channels=channels, height=height, width=width, classes=classes, scale=None
        ),
    )
