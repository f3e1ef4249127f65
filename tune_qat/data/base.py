"""What a dataset gives to training: arrays, and the task that turns them into batches, loss and metric.

A loader returns a `Dataset` (numpy arrays, in memory or mapped from a file, cheap to share between processes);
`Dataset.task(device)` makes the `Task` that training talks to. To add a dataset: one loader, one line in the table of
`data/__init__.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

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
    """Paths under the data folder that have to be there, each with others that do as well."""
    how_to_get: str = ""
    metric: str = "accuracy"
    """`accuracy` (fraction) or `psnr` (dB). Both are maximised."""


@dataclass(frozen=True, kw_only=True)
class ModelInput:
    """What a model has to fit."""

    task: str
    channels: int
    height: int | None
    """None: any size (super-resolution)."""
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


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Decoded data with its splits and their identity."""

    spec: DatasetSpec
    options: Mapping[str, Any]
    """Every option, resolved."""
    splits: Mapping[str, LabelledImages | ImagePairs]
    fingerprint: str
    """Hash of the data itself and of what the options make of it, the splits left out."""
    split_fingerprint: str
    """Hash of which sample is in which split."""
    names: Mapping[str, tuple[str, ...]] | None
    """File or scene names by split, where samples have names worth reading (not for MNIST)."""
    model_input: ModelInput

    @property
    def sizes(self) -> dict[str, int]:
        """Number of samples of each split (images; for super-resolution whole images)."""
        return {
            name: len(split.labels if isinstance(split, LabelledImages) else split.high_shapes)
            for name, split in self.splits.items()
        }

    def task(self, device: "torch.device | str" = "cpu") -> "Task":
        """The task on this device; arrays are shared with this dataset where the device is the CPU."""
        if self.spec.task == CLASSIFICATION:
            from tune_qat.data.classification import Classification

            return Classification(self, device)
        from tune_qat.data.super_resolution import SuperResolution

        return SuperResolution(self, device)


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """Loss and metric over a whole split. `top5` is None below 10 classes, `correct` outside classification."""

    loss: float
    metric: float
    top5: float | None
    n: int
    correct: int | None


class Task(ABC):
    """Batches, loss, metric and reference points of one dataset on one device."""

    metric: str
    """Column value, `accuracy` or `psnr`."""
    unit: str
    sign: int
    """1 where larger is better, -1 where smaller is."""
    worst_metric: float
    """A finite value no worse than which a metric can be: what a sampler is told of a diverged trial."""
    model_input: ModelInput
    train_size: int
    """Samples in an epoch."""
    device: "torch.device"
    """Where batches are."""

    @abstractmethod
    def batch(self, seed: int, epoch: int, index: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor]":
        """Inputs and targets of the training samples `index` (int64, shape (b,)), augmented.

        Depends on (seed, epoch, sample) alone: not on the order, the batch's other samples, or the device.
        """

    @property
    @abstractmethod
    def normalisation(self) -> tuple[list[float], list[float]]:
        """Mean and deviation of each channel, in 8-bit levels: a model's input is `(level - mean) / deviation`."""

    @property
    def prepares_ahead(self) -> bool:
        """Whether making batches takes waiting for a disk or for copies to a GPU, which is worth doing ahead."""
        return False

    def batches(
        self, seed: int, epoch: int, order: "torch.Tensor", batch_size: int
    ) -> "Generator[tuple[torch.Tensor, torch.Tensor], None, None]":
        """`batch` for one full batch of `order` after the other; a smaller last one is left out.

        With `prepares_ahead` a thread makes the next two meanwhile. It ends with the iterator: at its end, or when it
        is closed or dropped; who may leave it early and keep it closes it.

        Args:
            seed: as for `batch`.
            epoch: as for `batch`.
            order: training samples, int64 of shape (n,), on the CPU.
            batch_size: samples of each batch.
        """
        indices = [order[end - batch_size : end] for end in range(batch_size, len(order) + 1, batch_size)]
        if not self.prepares_ahead or not indices:
            for index in indices:
                yield self.batch(seed, epoch, index)
            return
        from tune_qat.data.prefetch import prepared_ahead

        self.batch(seed, epoch, indices[0][:1])  # what all batches share is loaded by the caller, not in the thread
        yield from prepared_ahead(lambda index: self.batch(seed, epoch, index), indices, self.device)

    @abstractmethod
    def loss(self, output: "torch.Tensor", target: "torch.Tensor") -> "torch.Tensor":
        """Mean loss of a batch, shape ()."""

    @abstractmethod
    def batch_metric(self, output: "torch.Tensor", target: "torch.Tensor") -> "torch.Tensor":
        """The metric of a training batch, shape ()."""

    @abstractmethod
    def evaluate(self, predict: "Callable[[torch.Tensor], torch.Tensor]", split: str) -> Evaluation:
        """Loss and metric of `predict` over a whole split, un-augmented. The caller sets eval mode and no_grad."""

    @abstractmethod
    def trivial(self, split: str) -> Evaluation:
        """The best constant prediction, chosen on the training split (majority class; mean grey)."""

    @cached_property
    def trivial_loss(self) -> float:
        """Loss of the best constant prediction on the training split, worked out once for all trials of a process."""
        return self.trivial("train").loss

    @abstractmethod
    def baselines(self, split: str) -> dict[str, float]:
        """Metric of what needs no training, by name (bicubic, nearest); empty where there is nothing."""


Loader = Callable[..., Dataset]


def data_folder_hint(spec: DatasetSpec, looked_for: Path | None) -> str:
    """The one message for data that is not there: where we looked, what we expect, how to get it."""
    where = f"looked for {looked_for}" if looked_for else "no data folder was given"
    return (
        f"The data of dataset {spec.name!r} was not found: {where}.\n"
        f"Expected layout: {spec.layout}\nHow to get it: {spec.how_to_get}\n"
        "Name the folder with --data-dir, the environment variable TUNE_QAT_DATA, or data_dir in the study file."
    )
