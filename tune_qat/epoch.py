"""Sums over the steps of an epoch, kept on the device so that no step waits for it."""

import math
from typing import Any

import torch


class EpochTotals:
    """Adds up what an epoch's steps report; every property that reads a number waits for the device."""

    def __init__(self, device: torch.device, *, first_step: int, clips: bool) -> None:
        self._first_step = first_step
        self._clips = clips
        self._steps = 0
        # Double precision: a long epoch adds many small terms to a large sum.
        self._sums = torch.zeros(4, device=device, dtype=torch.float64)
        self._norm_max = torch.zeros((), device=device)
        self._finite_until = torch.zeros((), device=device)
        self._nonfinite = torch.zeros((), device=device)

    def add(self, loss: torch.Tensor, metric: torch.Tensor, norm: torch.Tensor, clipped: torch.Tensor | None) -> None:
        """Loss, metric, gradient norm before clipping, and whether clipping changed a gradient; all of shape ()."""
        self._steps += 1
        clip = torch.zeros_like(loss) if clipped is None else clipped
        self._sums += torch.stack([loss, metric, norm, clip]).double()
        self._norm_max = torch.maximum(self._norm_max, norm)
        # A NaN in a gradient counts too: an optimizer of signs would go on as if nothing had happened. An infinite norm
        # does not: the sum of squares overflows before the gradients do.
        self._nonfinite += ~torch.isfinite(loss) | torch.isnan(norm)
        self._finite_until += self._nonfinite == 0

    @property
    def nonfinite_steps(self) -> int:
        return int(self._nonfinite)

    @property
    def loss(self) -> float:
        """Mean training loss; may be not finite."""
        return float(self._sums[0]) / self._steps

    def columns(self) -> dict[str, Any]:
        """The columns of an epoch's row that come from training; None where a number is not finite."""
        means = [total / self._steps for total in self._sums.tolist()]
        loss, metric, norm, clipped = (mean if math.isfinite(mean) else None for mean in means)
        norm_max = float(self._norm_max)
        return {
            "train_loss": loss,
            "train_metric": metric,
            "grad_norm": norm,
            "grad_norm_max": norm_max if math.isfinite(norm_max) else None,
            "clip_fraction": clipped if self._clips else None,
            "nonfinite_steps": self.nonfinite_steps,
            "diverged_at_step": self._first_step + int(self._finite_until) if self.nonfinite_steps else None,
        }
