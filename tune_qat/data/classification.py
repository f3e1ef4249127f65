"""Classification: cross-entropy, accuracy by the rule of `ranking`, and the majority class as the reference."""

import math
from collections.abc import Callable, Iterable

import numpy as np
import torch
from torch.nn import functional

from tune_qat.data.array_batches import ArrayBatches
from tune_qat.data.ranking import is_right, places
from tune_qat.data.task import FEW_IMAGES, Evaluation

TOP5_FROM_CLASSES = 10


class Classification(ArrayBatches):
    """Labelled samples: labels int64 of shape (n,), a model gives logits of shape (b, classes)."""

    metric = "accuracy"
    unit = "fraction"
    sign = 1
    worst_metric = 0.0

    @classmethod
    def outputs(cls, targets: np.ndarray, sample: tuple[int, ...]) -> int:
        """Return the number of classes; raise `ValueError` for targets that are no labels."""
        if targets.dtype.kind not in "iu" or targets.ndim != 1:
            raise ValueError(
                f"targets of classification are whole numbers of shape (n,), the classes, not {targets.dtype} of "
                f"shape {targets.shape}"
            )
        return super().outputs(targets, sample)

    def output_shape(self, inputs: torch.Tensor) -> tuple[int, ...]:
        """Return (b, classes)."""
        return len(inputs), self._outputs

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the mean cross-entropy in nats, shape ()."""
        return functional.cross_entropy(output.float(), target)

    def batch_metric(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the accuracy as a fraction, shape ()."""
        return is_right(output, target).float().mean()

    def evaluate(self, predict: Callable[[torch.Tensor], torch.Tensor], split: str) -> Evaluation:
        """Return the mean cross-entropy and the accuracy over a split. Where the loss is NaN, the accuracy is too."""
        return self._judged((predict(inputs), target) for inputs, target in self.chunks(split))

    def _judged(self, answers: Iterable[tuple[torch.Tensor, torch.Tensor]]) -> Evaluation:
        """Evaluate (outputs, labels), chunk by chunk."""
        # Summed on the device, and read once at the end: each read would wait for the device.
        sums, right = zip(*(self._chunk_sums(output.float(), target) for output, target in answers), strict=True)
        loss_sum, correct, in_top5 = torch.stack(sums).cpu().double().sum(0).tolist()
        n = sum(map(len, right))
        undefined = math.isnan(loss_sum)
        ranked = self._outputs >= TOP5_FROM_CLASSES
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
        counts = torch.bincount(self.train_targets, minlength=self._outputs) + 1
        logits = (counts / counts.sum()).log()
        targets = self._split(split).targets.split(self.evaluation_batch)
        return self._judged((logits.expand(len(target), -1), target) for target in targets)

    def baselines(self, split: str) -> dict[str, float]:
        """Return nothing: no method of classification does without training."""
        return {}

    def _chunk_sums(self, output: torch.Tensor, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the sums of losses, correct answers and correct answers among the top five, float32 of shape (3,).

        The second tensor says which answers are correct: bool of shape (n,).
        """
        loss = functional.cross_entropy(output, target, reduction="sum")
        ahead = places(output, target)
        right = ahead < 1
        return torch.stack([loss, right.sum().float(), (ahead < 5).sum().float()]), right
