"""Values of the steps of an epoch, kept on the device so that no step waits for it."""

import math
from typing import Any

import torch


class EpochTotals:
    """A row of values for each step of an epoch; reading any result waits for the device."""

    def __init__(self, device: torch.device, *, steps: int, first_step: int, clips: bool) -> None:
        """Make room for `steps` steps, the most that the epoch may have; the first is number `first_step`."""
        self._first_step = first_step
        self._clips = clips
        self._steps = 0
        self._rows = torch.zeros(steps, 4, device=device)

    def add(self, loss: torch.Tensor, metric: torch.Tensor, norm: torch.Tensor, clipped: torch.Tensor | None) -> None:
        """Add loss, metric, gradient norm before clipping and whether clipping changed a gradient, all of shape ()."""
        row = (loss, metric, norm) if clipped is None else (loss, metric, norm, clipped)
        # One operation for all four: with four small ones, a step of a small network would take longer.
        torch.stack(row, out=self._rows[self._steps, : len(row)])
        self._steps += 1

    @property
    def nonfinite_steps(self) -> int:
        return int(self._nonfinite().sum())

    @property
    def loss(self) -> float:
        """Mean training loss; may be not finite."""
        return self._means()[0]

    def columns(self) -> dict[str, Any]:
        """Return the columns of an epoch's row that come from training; None for a number that is not finite."""
        loss, metric, norm, clipped = (mean if math.isfinite(mean) else None for mean in self._means())
        norm_max = float(self._rows[: self._steps, 2].max())
        nonfinite = self._nonfinite()
        return {
            "train_loss": loss,
            "train_metric": metric,
            "grad_norm": norm,
            "grad_norm_max": norm_max if math.isfinite(norm_max) else None,
            "clip_fraction": clipped if self._clips else None,
            "nonfinite_steps": int(nonfinite.sum()),
            "diverged_at_step": self._first_step + int(nonfinite.int().argmax()) if nonfinite.any() else None,
        }

    def _means(self) -> list[float]:
        # Double precision: a long epoch adds many small terms to a large sum.
        means: list[float] = self._rows[: self._steps].double().mean(0).tolist()
        return means

    def _nonfinite(self) -> torch.Tensor:
        loss, norm = self._rows[: self._steps, 0], self._rows[: self._steps, 2]
        # A NaN in a gradient counts too: an optimizer that takes only its sign would not show it. An infinite norm does
        # not count: the sum of squares overflows before the gradients do.
        return ~torch.isfinite(loss) | torch.isnan(norm)
