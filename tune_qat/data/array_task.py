"""A task on arrays whose metric is a torchmetrics `Metric`: the class that tasks of your own are made from."""

import math
from abc import abstractmethod
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING

import torch

from tune_qat.data.array_batches import ArrayBatches
from tune_qat.data.task import Evaluation

if TYPE_CHECKING:
    from torchmetrics import Metric


class ArrayTask(ArrayBatches):
    """A task of its own: `metric`, `unit`, `sign` and `worst_metric` as attributes, and the methods without a body.

    `tune_qat.data.task_check.check_task` tests one.
    """

    @abstractmethod
    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the mean loss of a batch, shape (); `target` is float32 or int64."""

    @abstractmethod
    def make_metric(self) -> "Metric":
        """Return a new torchmetrics metric, which gathers batches and computes one number over all of them."""

    @abstractmethod
    def constant(self) -> torch.Tensor:
        """Return a model's output for one sample that is best for all, chosen on `train_targets`: without the batch."""

    def output_shape(self, inputs: torch.Tensor) -> tuple[int, ...]:
        """Return that of `constant` for each sample."""
        return len(inputs), *self.constant().shape

    def update_metric(self, metric: "Metric", output: torch.Tensor, target: torch.Tensor) -> None:
        """Add a batch to the metric."""
        metric.update(output, target)

    def batch_metric(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the metric of a training batch, shape (). Called in every step: what is quicker may replace it."""
        self._batch_metric.reset()
        self.update_metric(self._batch_metric, output, target)
        value: torch.Tensor = self._batch_metric.compute()
        return value.float()

    @cached_property
    def _batch_metric(self) -> "Metric":
        return self.make_metric().to(self.device)

    def evaluate(self, predict: Callable[[torch.Tensor], torch.Tensor], split: str) -> Evaluation:
        """Return the mean loss and the metric over a whole split; both NaN where a loss is not finite."""
        metric, total, n = self.make_metric().to(self.device), 0.0, 0
        for inputs, target in self.chunks(split):
            output = predict(inputs).contiguous()  # some metrics take nothing else
            loss = float(self.loss(output, target).detach())
            if not math.isfinite(loss):
                return Evaluation(loss=math.nan, metric=math.nan, top5=None, n=self._dataset.sizes[split], correct=None)
            total, n = total + loss * len(target), n + len(target)
            self.update_metric(metric, output, target)
        return Evaluation(loss=total / n, metric=float(metric.compute()), top5=None, n=n, correct=None)

    def trivial(self, split: str) -> Evaluation:
        """Evaluate `constant` as the prediction for every sample."""
        always = self.constant().to(self.device)
        return self.evaluate(lambda inputs: always.expand(len(inputs), *always.shape), split)

    def baselines(self, split: str) -> dict[str, float]:
        """Return nothing: no other method that needs no training."""
        return {}
