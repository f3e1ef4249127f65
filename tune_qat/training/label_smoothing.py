"""Label smoothing: a share of the training loss asks for equal classes (Szegedy et al., CVPR 2016, section 7)."""

import torch

from tune_qat.config import TrialConfig, UsageError
from tune_qat.data.spec import CLASSIFICATION


def smoothed(loss: torch.Tensor, output: torch.Tensor, share: float) -> torch.Tensor:
    """Return `(1 - share) * loss + share * u`, u the mean cross-entropy against equal classes; shape ().

    With the mean cross-entropy of the labels as `loss` it is torch's `cross_entropy(..., label_smoothing=share)`: the
    label's target is `1 - share + share / classes`, each other class's `share / classes`.

    Args:
        loss: loss against the labels, shape ().
        output: logits, shape (b, classes).
        share: from 0 to below 1.
    """
    logits = output.float()
    uniform = (logits.logsumexp(-1) - logits.mean(-1)).mean()
    return (1 - share) * loss + share * uniform


def smoothing_of(config: TrialConfig, task: str) -> float:
    """Return the share that a trial smooths its labels by; raise `UsageError` where its task has none."""
    if config.label_smoothing and task != CLASSIFICATION:
        raise UsageError(
            f"label_smoothing is defined for classification, but dataset {config.dataset!r} is not. Leave it out, or "
            "set label_smoothing = 0."
        )
    return config.label_smoothing
