"""Description of a dataset, free of torch: its line of the table, the input and output of its models, its arrays."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

SPLITS = ("train", "val", "test")
CLASSIFICATION = "classification"
SUPER_RESOLUTION = "super_resolution"
REGRESSION = "regression"
SEGMENTATION = "segmentation"
IMAGE_AXES = 3
"""Axes of an image: channels, height, width."""


def gives_vectors(task: str) -> bool:
    """Tell whether a network of `classes` outputs may do for a task: of one of the user's own, that is not known."""
    return task not in (SEGMENTATION, SUPER_RESOLUTION)


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
    """Name of the task's metric; empty where a task of the user's own is not imported yet."""
    any_task: bool = False
    """Whether its arrays may be anything, so that a study names the task."""
    own: bool = False
    """Whether it is a function of the user's, which takes further options."""
    image: tuple[int, int | str] | None = None
    """Channels and side, in pixels or as the option that sets it, of its square images (super-resolution: of patches).
    None where it takes the files to know."""


@dataclass(frozen=True, kw_only=True)
class ModelInput:
    """The input, and the number of outputs, that a model has to fit."""

    task: str
    channels: int
    """Length of the first axis of a sample: channels of an image or a signal, else the number of features."""
    height: int | None
    """Height in pixels; None: any size (super-resolution), or no image."""
    width: int | None
    classes: int | None
    """Number of outputs: classes, or in regression numbers to predict."""
    scale: int | None
    """Upscaling factor of super-resolution."""
    shape: tuple[int | None, ...] = ()
    """Shape of a sample; left out, that of an image of these channels, height and width. None: any length."""
    dtype: str = "float32"
    """Type of the input's numbers: float32, or int64 for token ids."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "shape", tuple(self.shape) or (self.channels, self.height, self.width))

    @classmethod
    def of_shape(cls, shape: tuple[int, ...], *, task: str, classes: int, dtype: str = "float32") -> "ModelInput":
        """Return the input of samples of this shape; those with three axes are images."""
        height, width = shape[1:] if len(shape) == IMAGE_AXES else (None, None)
        return cls(
            task=task,
            channels=shape[0] if shape else 1,
            height=height,
            width=width,
            classes=classes,
            scale=None,
            shape=shape,
            dtype=dtype,
        )

    @property
    def is_image(self) -> bool:
        """Whether samples are images: channels, height and width of float32."""
        return len(self.shape) == IMAGE_AXES and self.dtype == "float32"

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as checkpoints and records hold them: of images, those that they have always held."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        if self.shape == (self.channels, self.height, self.width):
            del values["shape"]
        if self.dtype == "float32":
            del values["dtype"]
        return values


@dataclass(frozen=True, kw_only=True)
class Arrays:
    """Samples of any kind: inputs and targets of shape (n, ...)."""

    inputs: np.ndarray
    """float32, uint8 or an integer type of ids."""
    targets: np.ndarray
    """float32 or an integer type."""


@dataclass(frozen=True, kw_only=True)
class LabelledImages:
    """Images uint8 of shape (n, channels, height, width) and labels int64 of shape (n,)."""

    images: np.ndarray
    labels: np.ndarray
    sizes: np.ndarray | None = None
    """Height and width of the files, int64 of shape (n, 2), where images are whole: those are cropped in training."""

    @property
    def inputs(self) -> np.ndarray:
        return self.images

    @property
    def targets(self) -> np.ndarray:
        return self.labels


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


def data_folder_hint(spec: DatasetSpec, looked_for: Path | None, data_dir: Path | None = None) -> str:
    """Return the message for missing data: where it was looked for, the expected layout, and how to get it.

    With a data folder, the command that fetches it names that one.
    """
    folder = "DATA_DIR" if data_dir is None else shlex.quote(str(data_dir))
    how = spec.how_to_get.replace("--data-dir DATA_DIR", f"--data-dir {folder}")
    where = f"looked for {looked_for}" if looked_for else "no data folder was given"
    return (
        f"The data of dataset {spec.name!r} was not found: {where}.\n"
        f"Expected layout: {spec.layout}\nHow to get it: {how}\n"
        "Name the folder with --data-dir, the environment variable TUNE_QAT_DATA, or data_dir in the study file."
    )
