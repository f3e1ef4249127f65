"""Learning-rate schedules as pure functions of the step."""

import math

STEP_MILESTONES = (0.5, 0.75)
STEP_DECAY = 0.1


def learning_rate_factor(schedule: str, step: int, total_steps: int, warmup_steps: int) -> float:
    """Factor in [0, 1] on the peak learning rate for a step counted from 0.

    Linear warm-up over `warmup_steps`, then `cosine` to 0 without restarts (Loshchilov & Hutter, ICLR 2017, eq. 5),
    `step` (times 0.1 at 50 % and at 75 % of the steps that follow the warm-up) or `constant`.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, total_steps - warmup_steps)
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * progress))
    if schedule == "step":
        return STEP_DECAY ** sum(progress >= milestone for milestone in STEP_MILESTONES)
    return 1.0
