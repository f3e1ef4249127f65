"""Classification: cross-entropy, accuracy by the rule of `ranking`, and the majority class as the reference."""

import math
from collections.abc import Callable, Iterable
from functools import cached_property
from typing import NamedTuple

import torch
from torch.nn import functional

from tune_qat.data import residency
from tune_qat.data.arrays import as_tensor, moved
from tune_qat.data.augment import crop_flip
from tune_qat.data.mapped_images import MappedImages
from tune_qat.data.ranking import is_right, places
from tune_qat.data.spec import LabelledImages
from tune_qat.data.task import FEW_IMAGES, Dataset, Evaluation, Task

EVALUATION_BATCH = 1_000
TOP5_FROM_CLASSES = 10
_STATISTICS_BATCH = 4_096


class _Split(NamedTuple):
    images: torch.Tensor
    """Images on the device, or on the host where the split does not stay on the device."""
    labels: torch.Tensor
    """Labels on the device."""
    stays: bool
    file: MappedImages | None
    """File that each batch's images are read from; None where they are in memory."""


class Classification(Task):
    """Labelled images on one device, normalised by the training split's mean and deviation of each channel.

    Images that do not stay on the device (see `residency`) are picked on the host and copied batch by batch.
    """

    metric = "accuracy"
    unit = "fraction"
    sign = 1
    worst_metric = 0.0

    def __init__(self, dataset: Dataset, device: torch.device | str) -> None:
        self.model_input = dataset.model_input
        self.train_size = dataset.sizes["train"]
        self._dataset = dataset
        self.device = torch.device(device)
        self._loaded: dict[str, _Split] = {}
        self._augmented = dataset.options["augment"] == "crop_flip"

    def batch(self, seed: int, epoch: int, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return images, float32 of shape (b, channels, height, width), and labels, int64 of shape (b,)."""
        images, labels, _, file = self._split("train")
        if file is not None:
            file.will_need(index.tolist())
        chosen = moved(images.index_select(0, index.to(images.device)), self.device)
        index = index.to(self.device)
        if self._augmented:
            chosen = crop_flip(chosen, index, seed, epoch)
        return self._normalise(chosen), labels[index]

    @property
    def normalisation(self) -> tuple[list[float], list[float]]:
        """Mean and standard deviation of each channel over the training split, in 8-bit levels."""
        mean, deviation = self.statistics
        return mean.flatten().tolist(), deviation.flatten().tolist()

    @property
    def prepares_ahead(self) -> bool:
        """Whether the training images do not stay on the device."""
        return not self._split("train").stays

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the mean cross-entropy in nats, shape ()."""
        return functional.cross_entropy(output.float(), target)

    def batch_metric(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the accuracy as a fraction, shape ()."""
        return is_right(output, target).float().mean()

    def evaluate(self, predict: Callable[[torch.Tensor], torch.Tensor], split: str) -> Evaluation:
        """Return the mean cross-entropy and the accuracy over a split. Where the loss is NaN, the accuracy is too."""
        images, labels, *_ = self._split(split)
        chunks = zip(images.split(EVALUATION_BATCH), labels.split(EVALUATION_BATCH), strict=True)
        return self._judged((predict(self._normalise(moved(chunk, self.device))), target) for chunk, target in chunks)

    def _judged(self, answers: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> Evaluation:
        """Evaluate (outputs, labels), chunk by chunk."""
        # Summed on the device, and read once at the end: each read would wait for the device.
        sums, right = zip(*(self._chunk_sums(output.float(), target) for output, target in answers), strict=True)
        loss_sum, correct, in_top5 = torch.stack(sums).cpu().double().sum(0).tolist()
        n = sum(map(len, right))
        undefined = math.isnan(loss_sum)
        ranked = self._classes >= TOP5_FROM_CLASSES
        return Evaluation(
            loss=loss_sum / n,
            metric=math.nan if undefined else correct / n,
            top5=None if not ranked else math.nan if undefined else in_top5 / n,
            n=n,
            correct=int(correct),
            images=None if undefined or n > FEW_IMAGES else tuple(torch.cat(right).int().tolist()),
        )

    def trivial(self, split: str) -> Evaluation:
        """Evaluate the class frequencies of the training split as a constant prediction, whose answer is the majority.

        Of equally frequent classes it is the first. Each class counts one sample more than it has (Laplace), so that a
        class without training samples does not make the loss infinite.
        """
        counts = torch.bincount(self._split("train").labels, minlength=self._classes) + 1
        logits = (counts / counts.sum()).log()
        targets = self._split(split).labels.split(EVALUATION_BATCH)
        return self._judged((logits.expand(len(target), -1), target) for target in targets)

    def baselines(self, split: str) -> dict[str, float]:
        """Return nothing: no method of classification does without training."""
        return {}

    @cached_property
    def statistics(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation of the training split's channels, in grey levels, counted on first use."""
        split, images = self._dataset.splits["train"], self._split("train").images
        counts = torch.from_numpy(split.level_counts) if isinstance(split, MappedImages) else _level_counts(images)
        mean, deviation = _channel_statistics(counts)
        return mean.to(self.device), deviation.to(self.device)

    @property
    def _classes(self) -> int:
        return int(self.model_input.classes or 0)

    def _chunk_sums(self, output: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the sums of losses, correct answers and correct answers among the top five, float32 of shape (3,).

        The second tensor says which answers are correct: bool of shape (n,).
        """
        loss = functional.cross_entropy(output, target, reduction="sum")
        ahead = places(output, target)
        right = ahead < 1
        return torch.stack([loss, right.sum().float(), (ahead < 5).sum().float()]), right

    def _split(self, name: str) -> _Split:
        if name not in self._loaded:
            split = self._dataset.splits[name]
            if not isinstance(split, LabelledImages):
                raise TypeError(f"split {name!r} holds {type(split).__name__}, not LabelledImages")
            file = split if isinstance(split, MappedImages) else None
            free = residency.free_memory(self.device)
            stays = residency.stays_on_device(split.images.nbytes, free=free, mapped=file is not None)
            self._loaded[name] = _Split(
                images=as_tensor(split.images, self.device if stays else torch.device("cpu")),
                labels=as_tensor(split.labels, self.device),
                stays=stays,
                file=None if stays else file,
            )
        return self._loaded[name]

    def _normalise(self, images: torch.Tensor) -> torch.Tensor:
        mean, std = self.statistics
        return images.to(torch.float32).sub_(mean).div_(std)


def _level_counts(images: torch.Tensor) -> torch.Tensor:
    """Count how often each channel has each of the 256 grey levels: int64 of shape (channels, 256), on the CPU.

    Takes a few thousand images at a time, so that the whole array is never copied in another type.
    """
    channels = images.shape[1]
    counts = torch.zeros(channels, 256, dtype=torch.int64)
    for chunk in images.split(_STATISTICS_BATCH):
        for channel in range(channels):
            counts[channel] += torch.bincount(chunk[:, channel].flatten(), minlength=256).cpu()
    return counts


def _channel_statistics(counts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean and the standard deviation of each channel in grey levels, float32 of shape (1, channels, 1, 1).

    A deviation below 1 counts as 1.
    """
    share = counts.double() / counts.sum(1, keepdim=True)
    level = torch.arange(256, dtype=torch.float64)
    mean = (share * level).sum(1)
    deviation = (share * (level - mean[:, None]).square()).sum(1).sqrt().clamp(min=1.0)  # a constant channel becomes 0
    shape = (1, len(counts), 1, 1)
    return mean.float().reshape(shape), deviation.float().reshape(shape)
