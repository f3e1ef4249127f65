"""Semantic segmentation: cross-entropy of pixels, mean intersection over union, class frequencies as the reference."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from tune_qat.data.array_task import ArrayTask
from tune_qat.data.augment import crop_flip
from tune_qat.data.spec import IMAGE_AXES

if TYPE_CHECKING:
    from torchmetrics import Metric

NO_CLASS = 255
"""Label of pixels that count nowhere, as in PASCAL VOC and Cityscapes."""


class Segmentation(ArrayTask):
    """A class for each pixel: labels of shape (n, height, width), a model gives (b, classes, height, width).

    Pixels with the label 255 have no class: they are in no loss and no metric. The mean intersection over union is that
    of all pixels of a split together (one confusion matrix), averaged over the classes that are in labels or answers.
    """

    metric = "mean_iou"
    unit = "fraction"
    sign = 1
    worst_metric = 0.0
    evaluation_batch = 32
    ignored = NO_CLASS

    @classmethod
    def outputs(cls, targets: np.ndarray, sample: tuple[int, ...]) -> int:
        """Return the number of classes; raise `ValueError` for targets that are no label of each pixel."""
        if targets.dtype.kind not in "iu" or len(sample) != IMAGE_AXES or targets.shape[1:] != sample[1:]:
            raise ValueError(
                f"targets of segmentation are whole numbers of shape (n, height, width), a class for each pixel of "
                f"inputs (channels, height, width), not {targets.dtype} of shape {targets.shape} for inputs of {sample}"
            )
        return super().outputs(targets, sample)

    def augment(
        self, inputs: torch.Tensor, targets: torch.Tensor, index: torch.Tensor, seed: int, epoch: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return images and labels shifted and mirrored together, where the dataset's option `augment` is crop_flip."""
        images, targets = super().augment(inputs, targets, index, seed, epoch)
        if self.options.get("augment") == "crop_flip":
            targets = crop_flip(targets[:, None], index, seed, epoch)[:, 0]
        return images, targets

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the mean cross-entropy of pixels in nats, shape ()."""
        losses = functional.cross_entropy(output.float(), target, ignore_index=NO_CLASS, reduction="sum")
        return losses / (target != NO_CLASS).sum().clamp(min=1)

    def loss_terms(self, target: torch.Tensor) -> torch.Tensor:
        """Return the number of pixels that have a class, shape (); 1 where none has."""
        return (target != NO_CLASS).sum().clamp(min=1).float()

    def make_metric(self) -> "Metric":
        """Return the mean over classes of one confusion matrix."""
        from torchmetrics.classification import MulticlassJaccardIndex

        return MulticlassJaccardIndex(self._outputs, average="macro", ignore_index=NO_CLASS, validate_args=False)

    def update_metric(self, metric: "Metric", output: torch.Tensor, target: torch.Tensor) -> None:
        """Add a batch to the metric."""
        metric.update(output.argmax(1), target)

    def constant(self) -> torch.Tensor:
        """Return the logarithms of the class frequencies, shape (classes, height, width); each counts one pixel more.

        The answer is the most frequent class.
        """
        labels = self.train_targets.flatten()
        counts = torch.zeros(NO_CLASS + 1, dtype=torch.int64, device=labels.device)
        for chunk in labels.split(1_000_000):
            counts += torch.bincount(chunk.to(torch.int64), minlength=NO_CLASS + 1)[: NO_CLASS + 1]
        counts = counts[: self._outputs] + 1
        height, width = self.model_input.shape[1:]
        return (counts / counts.sum()).log()[:, None, None].expand(-1, height or 1, width or 1)
