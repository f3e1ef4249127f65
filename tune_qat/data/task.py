"""The contract between datasets and training: arrays, and the task that turns them into batches, loss and metric.

A loader returns a `Dataset` (numpy arrays, in memory or mapped from a file, cheap to share between processes);
`Dataset.task(device)` makes the `Task` that training talks to. To add a dataset: one loader, one line in the table of
`data/__init__.py`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, final

import numpy as np

from tune_qat.config import UsageError
from tune_qat.config.lookup import resolve
from tune_qat.config.values import is_number
from tune_qat.data.spec import Arrays, DatasetSpec, ImagePairs, LabelledImages, ModelInput
from tune_qat.data.tasks import TASKS, is_users, users_part

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """Decoded data with its splits and their identity."""

    spec: DatasetSpec
    options: Mapping[str, Any]
    """Every option, resolved."""
    splits: Mapping[str, LabelledImages | Arrays | ImagePairs]
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
            name: len(split.high_shapes if isinstance(split, ImagePairs) else split.targets)
            for name, split in self.splits.items()
        }

    def for_task(self, spec: DatasetSpec) -> "Dataset":
        """Return the dataset for another task on the same samples, that of `spec`."""
        return replace(self, spec=spec, model_input=replace(self.model_input, task=spec.task))

    def task(self, device: "torch.device | str" = "cpu") -> "Task":
        """Return the task on this device; on the CPU it shares the arrays of this dataset."""
        task: Task = task_class(self.spec.task)(self, device)  # type: ignore[call-arg]  # each has its own __init__
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
    """Name in the record, such as `accuracy`."""
    unit: str
    """Unit of the metric, such as `dB`; `fraction` for one from 0 to 1."""
    sign: int
    """1 where larger is better, -1 where smaller is."""
    worst_metric: float
    """Finite value as bad as any: that of a diverged trial for the sampler, to which no metric is worse."""
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
        """Mean and deviation of each channel, in stored numbers: a model's input is `(number - mean) / deviation`."""

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
    def output_shape(self, inputs: "torch.Tensor") -> tuple[int, ...]:
        """Return the shape of a model's output for a batch of inputs."""

    @abstractmethod
    def loss(self, output: "torch.Tensor", target: "torch.Tensor") -> "torch.Tensor":
        """Return the mean loss of a batch, shape ()."""

    def loss_terms(self, target: "torch.Tensor") -> "torch.Tensor | float":
        """Return how many terms the loss of this batch is the mean of, up to a factor: its samples.

        Gradients of parts of a batch add up to the batch's where each counts by its terms.
        """
        return float(len(target))

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


def task_class(name: str) -> type[Task]:
    """Import a task of the table, or of the user's own.

    Raises:
        UsageError: an unknown task, one that may not or cannot be imported, or something else than a `Task`.
    """
    found: Any = users_part(name, "task") if is_users(name, "task", TASKS) else resolve(TASKS.get_spec(name).build)
    if not isinstance(found, type) or not issubclass(found, Task):
        raise UsageError(
            f"Task {name!r} must be a class made from tune_qat.data.array_task.ArrayTask, but {found!r} is not."
        )
    if name not in TASKS and (wrong := wrong_attributes(found)):
        raise UsageError("\n".join([f"Task {name!r} does not say all that it must:", *wrong]))
    return found


def wrong_attributes(task: type[Task]) -> list[str]:
    """Return what is missing from a task, or wrong with what it says of its metric, a sentence each."""
    found = [f"It has no method `{name}`." for name in sorted(task.__abstractmethods__)]
    for name in ("metric", "unit"):
        if not isinstance(getattr(task, name, None), str):
            found.append(f"`{name}` must be text, but is {getattr(task, name, None)!r}.")
    if getattr(task, "sign", None) not in (1, -1):
        found.append(f"`sign` must be 1 (larger is better) or -1, but is {getattr(task, 'sign', None)!r}.")
    if not is_number(getattr(task, "worst_metric", None)):
        found.append(f"`worst_metric` must be a finite number, but is {getattr(task, 'worst_metric', None)!r}.")
    return found
