"""Knowledge distillation: the floating-point model that a trial starts from teaches the quantized one."""

import copy
from collections.abc import Callable

import torch
from torch import nn
from torch.nn import functional

from tune_qat.config import Distillation, TrialConfig, UsageError
from tune_qat.data.spec import CLASSIFICATION
from tune_qat.storage.paths import StoragePath


def distillation_loss(student: torch.Tensor, teacher: torch.Tensor, temperature: float) -> torch.Tensor:
    """Return `T^2 KL(softmax(teacher / T) || softmax(student / T))`, averaged over logits (b, classes); shape ().

    Its gradient is that of the cross-entropy against the teacher's softened predictions; `T^2` keeps its size beside
    the gradient of the labels at any temperature (Hinton et al., 2015, arXiv 1503.02531, section 2).
    """
    soft = functional.log_softmax(student / temperature, -1)
    target = functional.log_softmax(teacher / temperature, -1)
    return temperature**2 * functional.kl_div(soft, target, reduction="batchmean", log_target=True)


class Teacher:
    """A frozen copy of a model whose predictions another model learns."""

    def __init__(self, model: nn.Module, settings: Distillation) -> None:
        """Copy `model` in its present state, in evaluation mode; the copy gets no gradients and is in no checkpoint."""
        self.predict: Callable[[torch.Tensor], torch.Tensor] = copy.deepcopy(model).eval().requires_grad_(False)
        self._settings = settings

    def loss(self, inputs: torch.Tensor, output: torch.Tensor, task_loss: torch.Tensor) -> torch.Tensor:
        """Return `(1 - weight) * task_loss + weight * distillation_loss` for a batch and its logits; shape ()."""
        with torch.no_grad():
            taught = self.predict(inputs)
        weight = self._settings.weight
        return (1 - weight) * task_loss + weight * distillation_loss(output, taught, self._settings.temperature)


def teacher_of(config: TrialConfig, model: nn.Module, task: str, *, start: StoragePath | None) -> Teacher | None:
    """Return a copy of the trial's model, which holds the weights of `start`; None without distillation.

    Raises `UsageError` if the trial starts from scratch, or if its task is not classification.
    """
    if config.distillation is None:
        return None
    if start is None:
        raise UsageError(
            "distillation needs a teacher, the floating-point model that the trial starts from, but it starts from "
            'scratch. Give init (--init CHECKPOINT; in a study training.init = "pretrain", "weights" or "path").'
        )
    if task != CLASSIFICATION:
        raise UsageError(f"distillation is defined for classification, but dataset {config.dataset!r} is not.")
    return Teacher(model, config.distillation)
