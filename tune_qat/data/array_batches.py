"""Batches from arrays of inputs and targets, whatever is predicted: the part that all tasks on arrays share."""

from collections.abc import Iterator
from functools import cached_property
from typing import ClassVar, NamedTuple

import numpy as np
import torch

from tune_qat.config import UsageError
from tune_qat.data import residency
from tune_qat.data.array_statistics import channel_statistics, level_counts, level_statistics
from tune_qat.data.arrays import as_tensor, moved
from tune_qat.data.augment import crop_flip
from tune_qat.data.mapped_images import InFile
from tune_qat.data.resized_crop import crops
from tune_qat.data.spec import IMAGE_AXES, Arrays, LabelledImages
from tune_qat.data.task import Dataset, Task


class _Split(NamedTuple):
    inputs: torch.Tensor
    """Inputs on the device, or on the host where the split does not stay on the device."""
    targets: torch.Tensor
    """Targets on the device; on the host where they are large and the split does not stay on the device."""
    stays: bool
    file: InFile | None
    """File that each batch's inputs are read from; None where they are in memory."""


class ArrayBatches(Task):
    """Samples on one device: uint8 and floats become float32, other integers int64.

    They are normalised by the training split's mean and deviation of each channel, unless the dataset has an option
    `normalise` that is false. Inputs that do not stay on the device (see `residency`) are picked on the host and copied
    batch by batch.
    """

    evaluation_batch: ClassVar[int] = 1_000
    """Samples that are evaluated at once."""
    ignored: ClassVar[int | None] = None
    """Target that stands for no class, where the task has one."""

    def __init__(self, dataset: Dataset, device: torch.device | str) -> None:
        self.model_input = dataset.model_input
        self.train_size = dataset.sizes["train"]
        self.device = torch.device(device)
        self.options = dataset.options
        self._dataset = dataset
        self._loaded: dict[str, _Split] = {}

    @classmethod
    def outputs(cls, targets: np.ndarray, sample: tuple[int, ...]) -> int:
        """Return the number of outputs that a model needs for these training targets: `ModelInput.classes`.

        Classes count from 0; of floats each number of a target is an output.

        Args:
            targets: targets of the training split, float32 or an integer type, of shape (n, ...).
            sample: shape of an input.

        Raises `ValueError` for targets that are not the task's.
        """
        if targets.dtype.kind == "f":
            return int(np.prod(targets.shape[1:], dtype=np.int64))
        known = targets if cls.ignored is None else targets[targets != cls.ignored]
        return int(known.max(initial=0)) + 1

    def augment(
        self, inputs: torch.Tensor, targets: torch.Tensor, index: torch.Tensor, seed: int, epoch: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return a training batch as it is trained on, before inputs are normalised.

        The default shifts and mirrors images where the dataset's option `augment` is crop_flip. What is drawn here must
        depend on (seed, epoch, sample) alone: draw with `counter_rng`.

        Args:
            inputs: inputs as they are stored, shape (b, ...); a copy, which may be written to.
            targets: their targets, shape (b, ...).
            index: numbers of the samples, int64 of shape (b,), on the device.
            seed: seed of the trial.
            epoch: epoch of the batch.
        """
        if self.options.get("augment") == "crop_flip":
            return crop_flip(inputs, index, seed, epoch), targets
        return inputs, targets

    def batch(self, seed: int, epoch: int, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return inputs, float32 or int64 of shape (b, ...), and targets, float32 or int64 of shape (b, ...)."""
        inputs, targets, _, file = self._split("train")
        if file is not None:
            file.will_need(index.tolist())
        places = moved(index, self.device)
        wanted = self._picked(targets, index, places)
        if self._file_sizes is not None:
            side = int(self.model_input.height or 0)
            chosen = moved(crops(inputs, self._file_sizes, index.cpu(), side, seed, epoch), self.device)
        else:
            chosen = self._picked(inputs, index, places)
        chosen, wanted = self.augment(chosen, wanted, places, seed, epoch)
        return self._prepared(chosen), _as_target(wanted)

    @property
    def train_targets(self) -> torch.Tensor:
        """Targets of all training samples as they are stored, shape (n, ...)."""
        return self._split("train").targets

    @property
    def normalisation(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of each channel over the training split; 0 and 1 where it is not normalised."""
        if not self._normalises:
            return [0.0], [1.0]
        mean, deviation = self.statistics
        return mean.flatten().tolist(), deviation.flatten().tolist()

    @property
    def prepares_ahead(self) -> bool:
        """Whether the training inputs do not stay on the device."""
        return not self._split("train").stays

    @cached_property
    def statistics(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation of the training split's channels, shape (1, channels, 1, ...), on first use."""
        split, inputs = self._dataset.splits["train"], self._split("train").inputs
        if inputs.dtype == torch.uint8 and inputs.dim() == IMAGE_AXES + 1:
            counts = torch.from_numpy(split.level_counts) if isinstance(split, InFile) else level_counts(inputs)
            mean, deviation = level_statistics(counts)
        else:
            mean, deviation = channel_statistics(inputs)
        return mean.to(self.device), deviation.to(self.device)

    def chunks(self, split: str) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Yield the inputs and targets of a whole split as batches have them, without augmentation."""
        inputs, targets, *_ = self._split(split)
        both = zip(inputs.split(self.evaluation_batch), targets.split(self.evaluation_batch), strict=True)
        for chunk, wanted in both:
            yield self._prepared(moved(chunk, self.device)), _as_target(moved(wanted, self.device))

    @property
    def _normalises(self) -> bool:
        return bool(self.options.get("normalise", True))

    @property
    def _outputs(self) -> int:
        return int(self.model_input.classes or 0)

    def _split(self, name: str) -> _Split:
        if name not in self._loaded:
            self._loaded[name] = self._load(name)
        return self._loaded[name]

    def _load(self, name: str) -> _Split:
        split = self._dataset.splits.get(name)
        if split is None:
            raise UsageError(f"Dataset {self._dataset.spec.name!r} has no split {name!r}.")
        if not isinstance(split, LabelledImages | Arrays):
            raise TypeError(f"split {name!r} holds {type(split).__name__}, not arrays of inputs and targets")
        file = split if isinstance(split, InFile) else None
        large = split.targets.ndim > 1
        size = split.inputs.nbytes + (split.targets.nbytes if large else 0)
        stays = residency.stays_on_device(size, free=residency.free_memory(self.device), mapped=file is not None)
        host = torch.device("cpu")
        return _Split(
            inputs=as_tensor(split.inputs, self.device if stays else host),
            targets=as_tensor(split.targets, self.device if stays or not large else host),
            stays=stays,
            file=None if stays else file,
        )

    @cached_property
    def _file_sizes(self) -> torch.Tensor | None:
        """Height and width of whole training images' files, int64 of shape (n, 2), on the host; None without those."""
        split = self._dataset.splits["train"]
        return torch.from_numpy(split.sizes) if isinstance(split, LabelledImages) and split.sizes is not None else None

    def _picked(self, whole: torch.Tensor, index: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """Return samples of a tensor on the device; `places` is `index` there, so that no copy is waited for."""
        here = places if whole.device.type == places.device.type else index.to(whole.device)
        return moved(whole.index_select(0, here), self.device)

    def _prepared(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return inputs as a model takes them, never the stored ones themselves: a model may write into them."""
        if not self._normalises:
            kept = inputs.is_floating_point() or inputs.dtype == torch.uint8
            return inputs.to(torch.float32 if kept else torch.int64, copy=True)
        mean, deviation = self.statistics
        numbers = inputs.to(torch.float32)
        return (numbers - mean if numbers is inputs else numbers.sub_(mean)).div_(deviation)


def _as_target(targets: torch.Tensor) -> torch.Tensor:
    return targets if targets.is_floating_point() else targets.to(torch.int64)
