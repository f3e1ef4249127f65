"""Learning-rate schedules as pure functions of the step."""

import math
from collections.abc import Sequence

STEP_MILESTONES = (0.5, 0.75)
"""Default milestones of the schedule `step`, as shares of the steps after the warm-up."""


def learning_rate_factor(
    schedule: str,
    step: int,
    total_steps: int,
    warmup_steps: int,
    milestones: Sequence[float] = (),
    decay: float = 0.1,
) -> float:
    """Return the factor in [0, 1] on the peak learning rate for a step counted from 0.

    A linear warm-up over `warmup_steps` is followed by `cosine` to 0 without restarts (Loshchilov & Hutter, ICLR 2017,
    eq. 5), `step` (times `decay` at each of `milestones`, in steps, or at `STEP_MILESTONES`) or `constant`.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    left = max(1, total_steps - warmup_steps)
    progress = (step - warmup_steps) / left
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    if schedule == "step":
        passed = milestones or [warmup_steps + part * left for part in STEP_MILESTONES]
        return float(decay ** sum(step >= milestone for milestone in passed))
    return 1.0
