"""Description of a dataset, free of torch: its line of the table, the input and output of its models, its arrays."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

SPLITS = ("train", "val", "test")
CLASSIFICATION = "classification"
SUPER_RESOLUTION = "super_resolution"


@dataclass(frozen=True, kw_only=True)
class DatasetSpec:
    """A line of the table of datasets; free of torch, so that a study file is checked without it."""

    name: str
    task: str
    summary: str
    loader: str
    """`package.module:function`, called as `function(data_dir, **options)`, imported when it is needed."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Every option with its default value; an option's type is the default's type."""
    layout: str = ""
    """Folder layout expected under the data folder; empty for data that comes inside a dependency."""
    folders: tuple[tuple[str, ...], ...] = ()
    """Paths under the data folder that have to be there, each with its alternatives."""
    how_to_get: str = ""
    metric: str = "accuracy"
    """`accuracy` (fraction) or `psnr` (dB). Both are maximised."""
    image: tuple[int, int | str] | None = None
    """Channels and side, in pixels or as the option that sets it, of its square images (super-resolution: of patches).
    None where it takes the files to know."""


@dataclass(frozen=True, kw_only=True)
class ModelInput:
    """The input, and the number of outputs, that a model has to fit."""

    task: str
    channels: int
    height: int | None
    """Height in pixels; None: any size (super-resolution)."""
    width: int | None
    classes: int | None
    scale: int | None
    """Upscaling factor of super-resolution."""


@dataclass(frozen=True, kw_only=True)
class LabelledImages:
    """Images uint8 of shape (n, channels, height, width) and labels int64 of shape (n,)."""

    images: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True, kw_only=True)
class ImagePairs:
    """Low- and high-resolution luma planes of different sizes, each kind in one flat uint8 array.

    `low_shapes` and `high_shapes` are int64 arrays of shape (n, 2): height and width of each image;
    the planes follow one another in that order.
    """

    low: np.ndarray
    low_shapes: np.ndarray
    high: np.ndarray
    high_shapes: np.ndarray


def data_folder_hint(spec: DatasetSpec, looked_for: Path | None) -> str:
    """Return the message for missing data: where it was looked for, the expected layout, and how to get it."""
    where = f"looked for {looked_for}" if looked_for else "no data folder was given"
    return (
        f"The data of dataset {spec.name!r} was not found: {where}.\n"
        f"Expected layout: {spec.layout}\nHow to get it: {spec.how_to_get}\n"
        "Name the folder with --data-dir, the environment variable TUNE_QAT_DATA, or data_dir in the study file."
    )
