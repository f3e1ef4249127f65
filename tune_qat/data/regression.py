"""Regression: mean squared error, R^2, and the mean as the reference."""

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch.nn import functional

from tune_qat.data.array_task import ArrayTask

if TYPE_CHECKING:
    from torchmetrics import Metric


class Regression(ArrayTask):
    """Numbers to predict, float32 of shape (n,) or (n, outputs); a model gives (b, outputs).

    R^2 is that of each output, averaged: 1 - (squared errors) / (squared deviations from the split's own mean). Always
    to predict the mean of the training split has about 0.
    """

    metric = "r2"
    unit = "of variance"
    sign = 1
    worst_metric = -1.0

    @classmethod
    def outputs(cls, targets: np.ndarray, sample: tuple[int, ...]) -> int:
        """Return the numbers of a target; raise `ValueError` for classes, or for targets of more than one axis."""
        if targets.dtype.kind != "f" or targets.ndim > 2:
            raise ValueError(
                f"targets of regression are floats of shape (n,) or (n, outputs), not {targets.dtype} of "
                f"shape {targets.shape}"
            )
        return super().outputs(targets, sample)

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the mean squared error, shape ()."""
        return functional.mse_loss(output.float(), _as_rows(target))

    def make_metric(self) -> "Metric":
        """Return R^2 in double precision: it is a difference of sums of squares."""
        from torchmetrics.regression import R2Score

        return R2Score().set_dtype(torch.float64)

    def update_metric(self, metric: "Metric", output: torch.Tensor, target: torch.Tensor) -> None:
        """Add a batch to the metric."""
        rows = _as_rows(target).double()
        metric.update(output.double().reshape(rows.shape).squeeze(1), rows.squeeze(1))

    def batch_metric(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return R^2 of the batch, shape (); not finite for a single sample."""
        rows = _as_rows(target)
        errors = (output.float() - rows).square().sum(0)
        return (1 - errors / (rows - rows.mean(0)).square().sum(0)).mean()

    def constant(self) -> torch.Tensor:
        """Return the mean of the training targets, shape (outputs,)."""
        return _as_rows(self.train_targets).double().mean(0).float()


def _as_rows(target: torch.Tensor) -> torch.Tensor:
    """Return targets as float32 of shape (b, outputs)."""
    return target.float().reshape(len(target), -1)
