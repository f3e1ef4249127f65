"""Classification: cross-entropy, accuracy, and the majority class as the reference."""

import math
from collections.abc import Callable
from functools import cached_property

import torch
from torch.nn import functional

from tune_qat.data.arrays import as_tensor
from tune_qat.data.augment import crop_flip
from tune_qat.data.base import Dataset, Evaluation, LabelledImages, Task

EVALUATION_BATCH = 1_000
TOP5_FROM_CLASSES = 10
_STATISTICS_BATCH = 4_096


class Classification(Task):
    """Labelled images on one device, normalised by the training split's mean and deviation of each channel."""

    metric = "accuracy"
    unit = "fraction"
    sign = 1
    worst_metric = 0.0

    def __init__(self, dataset: Dataset, device: torch.device | str) -> None:
        self.model_input = dataset.model_input
        self.train_size = dataset.sizes["train"]
        self._dataset = dataset
        self._device = torch.device(device)
        self._loaded: dict[str, tuple[torch.Tensor, torch.Tensor]] = {}
        self._augmented = dataset.options["augment"] == "crop_flip"

    def batch(self, seed: int, epoch: int, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Images float32 of shape (b, channels, height, width) and labels int64 of shape (b,)."""
        images, labels = self._split("train")
        index = index.to(self._device)
        chosen = crop_flip(images, index, seed, epoch) if self._augmented else images[index]
        return self._normalise(chosen), labels[index]

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Mean cross-entropy in nats."""
        return functional.cross_entropy(output.float(), target)

    def batch_metric(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Share of right answers."""
        return (output.argmax(1) == target).float().mean()

    def evaluate(self, predict: Callable[[torch.Tensor], torch.Tensor], split: str) -> Evaluation:
        """Mean cross-entropy and accuracy. The metric of an undefined (NaN) loss is undefined too."""
        images, labels = self._split(split)
        rows = []  # on the device, and read once at the end: each read would wait for the device
        for chunk, target in zip(images.split(EVALUATION_BATCH), labels.split(EVALUATION_BATCH), strict=True):
            rows.append(self._chunk_sums(predict(self._normalise(chunk)).float(), target))
        loss_sum, correct, in_top5 = torch.stack(rows).cpu().double().sum(0).tolist()
        n = len(labels)
        undefined = math.isnan(loss_sum)
        ranked = self._classes >= TOP5_FROM_CLASSES
        return Evaluation(
            loss=loss_sum / n,
            metric=math.nan if undefined else correct / n,
            top5=None if not ranked else math.nan if undefined else in_top5 / n,
            n=n,
            correct=int(correct),
        )

    def trivial(self, split: str) -> Evaluation:
        """Always the class frequencies of the training split, so always its majority class.

        Each class counts one sample more than it has (Laplace), so that a class without training samples does not
        make the loss infinite.
        """
        counts = torch.bincount(self._split("train")[1], minlength=self._classes) + 1
        logits = (counts / counts.sum()).log()
        return self.evaluate(lambda images: logits.expand(len(images), -1), split)

    def baselines(self, split: str) -> dict[str, float]:
        """None: there is no method for labels that needs no training."""
        return {}

    @cached_property
    def statistics(self) -> tuple[torch.Tensor, torch.Tensor]:
        """Mean and standard deviation of the training split's channels, in grey levels, counted on first use."""
        return _channel_statistics(self._split("train")[0])

    @property
    def _classes(self) -> int:
        return int(self.model_input.classes or 0)

    def _chunk_sums(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Sum of losses, right answers, and right answers among the five best; float32 of shape (3,)."""
        loss = functional.cross_entropy(output, target, reduction="sum")
        best = output.topk(min(5, self._classes)).indices == target[:, None]
        return torch.stack([loss, best[:, 0].sum().float(), best.any(1).sum().float()])

    def _split(self, name: str) -> tuple[torch.Tensor, torch.Tensor]:
        if name not in self._loaded:
            split = self._dataset.splits[name]
            if not isinstance(split, LabelledImages):
                raise TypeError(f"split {name!r} holds {type(split).__name__}, not LabelledImages")
            self._loaded[name] = as_tensor(split.images, self._device), as_tensor(split.labels, self._device)
        return self._loaded[name]

    def _normalise(self, images: torch.Tensor) -> torch.Tensor:
        mean, std = self.statistics
        return images.to(torch.float32).sub_(mean).div_(std)


def _channel_statistics(images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and standard deviation of each channel in grey levels, float32 of shape (1, channels, 1, 1).

    From exact counts of the 256 levels, a few thousand images at a time: no copy of the whole array as floats.
    """
    channels = images.shape[1]
    counts = torch.zeros(channels, 256, dtype=torch.int64)
    for chunk in images.split(_STATISTICS_BATCH):
        for channel in range(channels):
            counts[channel] += torch.bincount(chunk[:, channel].flatten(), minlength=256).cpu()
    share = counts.double() / counts.sum(1, keepdim=True)
    level = torch.arange(256, dtype=torch.float64)
    mean = (share * level).sum(1)
    deviation = (share * (level - mean[:, None]).square()).sum(1).sqrt().clamp(min=1.0)  # an empty channel stays 0
    shape = (1, channels, 1, 1)
    return mean.float().reshape(shape).to(images.device), deviation.float().reshape(shape).to(images.device)
