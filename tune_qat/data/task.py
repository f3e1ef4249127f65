"""The contract between datasets and training: arrays, and the task that turns them into batches, loss and metric.

A loader returns a `Dataset` (numpy arrays, in memory or mapped from a file, cheap to share between processes);
`Dataset.task(device)` makes the `Task` that training talks to. To add a dataset: one loader, one line in the table of
`data/__init__.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, final

import numpy as np

from tune_qat.config.lookup import resolve
from tune_qat.data.spec import CLASSIFICATION, SUPER_RESOLUTION, DatasetSpec, ImagePairs, LabelledImages, ModelInput

if TYPE_CHECKING:
    import torch

TASKS = {
    CLASSIFICATION: "tune_qat.data.classification:Classification",
    SUPER_RESOLUTION: "tune_qat.data.super_resolution:SuperResolution",
}
"""The task of each kind of dataset, imported when one is made: the table of datasets needs no torch."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Decoded data with its splits and their identity."""

    spec: DatasetSpec
    options: Mapping[str, Any]
    """Every option, resolved."""
    splits: Mapping[str, LabelledImages | ImagePairs]
    fingerprint: str
    """Hash of the data itself and of the options that shape it, independent of the splits."""
    split_fingerprint: str
    """Hash of which sample is in which split."""
    names: Mapping[str, tuple[str, ...]] | None
    """File or scene names by split, where samples have names worth reading (not for MNIST)."""
    model_input: ModelInput
    train_index: np.ndarray | None = None
    """Source indices of the training samples, int64 of shape (n_train,); None where subsets cannot be drawn."""

    @property
    def sizes(self) -> dict[str, int]:
        """Number of samples of each split (images; for super-resolution whole images)."""
        return {
            name: len(split.labels if isinstance(split, LabelledImages) else split.high_shapes)
            for name, split in self.splits.items()
        }

    def task(self, device: "torch.device | str" = "cpu") -> "Task":
        """Return the task on this device; on the CPU it shares the arrays of this dataset."""
        task: Task = resolve(TASKS[self.spec.task])(self, device)
        return task


FEW_IMAGES = 200
"""Most images of a split whose metrics are kept one by one."""


@final
@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """Loss and metric over a whole split. `top5` is None below 10 classes, `correct` outside classification."""

    loss: float
    metric: float
    top5: float | None
    n: int
    correct: int | None
    images: tuple[float, ...] | None = None
    """Metric of each image in the order of the split, whose mean `metric` is; None above `FEW_IMAGES` of them. In
    classification 1 for a right answer and 0 for a wrong one."""


class Task(ABC):
    """Batches, loss, metric and reference points of one dataset on one device."""

    metric: str
    """Name in the record, `accuracy` or `psnr`."""
    unit: str
    sign: int
    """1 where larger is better, -1 where smaller is."""
    worst_metric: float
    """Finite value that no metric is worse than, reported to the sampler for a diverged trial."""
    model_input: ModelInput
    train_size: int
    """Samples in an epoch."""
    device: "torch.device"
    """Device of the batches."""

    @abstractmethod
    def batch(self, seed: int, epoch: int, index: "torch.Tensor") -> "tuple[torch.Tensor, torch.Tensor]":
        """Return the inputs and targets of the training samples `index` (int64, shape (b,)), augmented.

        Depends on (seed, epoch, sample) alone: not on the order, the batch's other samples, or the device.
        """

    @property
    @abstractmethod
    def normalisation(self) -> tuple[list[float], list[float]]:
        """Mean and deviation of each channel, in 8-bit levels: a model's input is `(level - mean) / deviation`."""

    @property
    def prepares_ahead(self) -> bool:
        """Whether making a batch waits for a disk or for a copy to a GPU, so that batches are worth preparing ahead."""
        return False

    def batches(
        self, seed: int, epoch: int, order: "torch.Tensor", batch_size: int
    ) -> "Generator[tuple[torch.Tensor, torch.Tensor], None, None]":
        """Yield the training batches of `order`, one after the other; a smaller last one is left out.

        With `prepares_ahead` a thread makes the next two meanwhile. It ends with the iterator: when that is exhausted,
        closed or collected. A caller that stops early but keeps the iterator has to close it.

        Args:
            seed: seed of the trial.
            epoch: epoch of the batches.
            order: training samples, int64 of shape (n,), on the CPU.
            batch_size: samples in each batch.
        """
        indices = [order[end - batch_size : end] for end in range(batch_size, len(order) + 1, batch_size)]
        if not self.prepares_ahead or not indices:
            for index in indices:
                yield self.batch(seed, epoch, index)
            return
        from tune_qat.data.prefetch import prepared_ahead

        self.batch(seed, epoch, indices[0][:1])  # loads what all batches share here, not in the thread
        yield from prepared_ahead(lambda index: self.batch(seed, epoch, index), indices, self.device)

    @abstractmethod
    def loss(self, output: "torch.Tensor", target: "torch.Tensor") -> "torch.Tensor":
        """Return the mean loss of a batch, shape ()."""

    @abstractmethod
    def batch_metric(self, output: "torch.Tensor", target: "torch.Tensor") -> "torch.Tensor":
        """Return the metric of a training batch, shape ()."""

    @abstractmethod
    def evaluate(self, predict: "Callable[[torch.Tensor], torch.Tensor]", split: str) -> Evaluation:
        """Evaluate `predict` on a whole split without augmentation. The caller sets eval mode and no_grad."""

    @abstractmethod
    def trivial(self, split: str) -> Evaluation:
        """Evaluate the best constant prediction, chosen on the training split (majority class; mean grey)."""

    @cached_property
    def trivial_loss(self) -> float:
        """Loss of the best constant prediction on the training split, computed once for all trials of a process."""
        return self.trivial("train").loss

    @cached_property
    def calibrated(self) -> dict[str, float]:
        """Validation metrics of models before their first step by hash, which many trials of a process share."""
        return {}

    @abstractmethod
    def baselines(self, split: str) -> dict[str, float]:
        """Return the metric of methods that need no training, by name (bicubic, nearest); empty if there are none."""
