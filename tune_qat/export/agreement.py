"""Agreement of an exported file with the trained model, on validation data."""

from collections.abc import Callable
from dataclasses import dataclass

import torch

from tune_qat.config import UsageError
from tune_qat.data.spec import CLASSIFICATION, SUPER_RESOLUTION
from tune_qat.data.task import Task

SAME_LEAST = 0.99
"""Smallest share of images whose first class has to be the trained model's."""
PSNR_MOST = 0.05
"""Largest difference of the mean PSNR in dB."""
Predict = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Agreement:
    """Agreement of two models on a split."""

    measure: str
    """`top1_same`, a fraction of images, or `psnr_difference` in dB."""
    value: float
    n: int
    """Images that it was measured on."""

    @property
    def met(self) -> bool:
        if self.measure == "top1_same":
            return self.value >= SAME_LEAST
        return abs(self.value) <= PSNR_MOST

    @property
    def words(self) -> str:
        if self.measure == "top1_same":
            return f"the same class as the trained model for {self.value:.2%} of {self.n:,} validation images"
        return f"a PSNR {self.value:+.3f} dB from the trained model's, over {self.n:,} validation images"

    @property
    def limit(self) -> str:
        return f"at least {SAME_LEAST:.0%}" if self.measure == "top1_same" else f"at most {PSNR_MOST} dB"


def check_task(task: str) -> None:
    """Raise `UsageError` for a task whose models have no limit to agree within."""
    if task not in (CLASSIFICATION, SUPER_RESOLUTION):
        raise UsageError(
            f"--for speed is an approximation, whose agreement is measured for {CLASSIFICATION} and "
            f"{SUPER_RESOLUTION}, not for {task}. `--for exact` takes every task."
        )


@torch.no_grad()
def measured(trained: Predict, exported: Predict, task: Task) -> Agreement:
    """Measure on the whole validation split how far an exported model agrees with the trained one."""
    if task.model_input.task == SUPER_RESOLUTION:
        before, after = task.evaluate(trained, "val"), task.evaluate(exported, "val")
        return Agreement(measure="psnr_difference", value=after.metric - before.metric, n=after.n)
    same: list[torch.Tensor] = []

    def both(inputs: torch.Tensor) -> torch.Tensor:
        outputs = trained(inputs)
        same.append(outputs.argmax(1) == exported(inputs).argmax(1))
        return outputs

    n = task.evaluate(both, "val").n
    return Agreement(measure="top1_same", value=float(torch.cat(same).double().mean()), n=n)
