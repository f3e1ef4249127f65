"""A step's gradients by parts of its batch (gradient accumulation), and the models whose numbers that changes."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tune_qat.config import TrialConfig, UsageError
from tune_qat.data.task import Task

TOLERANCE = 1e-3
"""Share of the largest output by which a sample's output may differ among other samples, and still be called alike."""


def accumulate(
    forward: Callable[[torch.Tensor], Any],
    task: Task,
    minimised: Callable[[torch.Tensor, torch.Tensor, torch.Tensor], torch.Tensor],
    inputs: torch.Tensor,
    targets: torch.Tensor,
    size: int,
) -> tuple[torch.Tensor, Any, torch.Tensor]:
    """Add the gradients of a batch to those of the parameters, `size` samples at a time.

    Each part counts by the terms of its loss, and what `minimised` adds to that (inputs, output, loss) by its samples,
    so that the sum is the gradient of the whole batch's loss up to rounding.

    Returns the output of the batch (b, ...), the codes of the last part's pass, and the task's loss of the batch, shape
    (); output and loss are without gradient.
    """
    outputs, total, codes = [], inputs.new_zeros((), dtype=torch.float32), None
    terms = task.loss_terms(targets)
    for part, target in zip(inputs.split(size), targets.split(size), strict=True):
        output, codes = forward(part)
        loss = task.loss(output, target) * (task.loss_terms(target) / terms)
        share = len(part) / len(inputs)
        # What is added is a mean over samples, the task's loss one over its own terms.
        (minimised(part, output, loss / share) * share).backward()
        outputs.append(output.detach())
        total += loss.detach()
    return torch.cat(outputs), codes, total


def check_micro_batch(config: TrialConfig, model: nn.Module, batch: torch.Tensor) -> None:
    """Raise `UsageError` where the trial's micro-batches would change numbers, and it does not say that they may."""
    if config.micro_batch:
        check_model(model, batch[:4], consent=config.micro_batch_norm)


def check_model(model: nn.Module, batch: torch.Tensor, *, consent: bool) -> None:
    """Raise `UsageError` where micro-batches change numbers without consent, or consent is given for nothing.

    `batch` holds at most four inputs, on the model's device. The model stays as it is.
    """
    why = what_changes(model, batch)
    if why and not consent:
        raise UsageError(
            f"micro_batch changes more than rounding in model {type(model).__name__}: {why}. Allow it by "
            "training.micro_batch_norm = true (of `train`, --set micro_batch_norm=true), which makes other trials of "
            "them, or leave micro_batch out."
        )
    if consent and not why:
        raise UsageError(
            f"micro_batch_norm = true is for models that micro-batches change, and {type(model).__name__} gives the "
            "same numbers up to rounding: leave it out."
        )


@torch.no_grad()
def what_changes(model: nn.Module, batch: torch.Tensor) -> str:
    """Return why micro-batches give the model other numbers beyond rounding; empty where they do not."""
    if any(isinstance(module, _BatchNorm) for module in model.modules()):
        return "its batch norm takes mean and variance of each micro-batch in place of the batch"
    own = copy.deepcopy(model).train()
    with torch.random.fork_rng([batch.device] if batch.is_cuda else []):
        before = _random_state(batch.device)
        whole = own(batch)
        if not torch.equal(before, _random_state(batch.device)):
            return "its layers draw random numbers (dropout), which each micro-batch draws anew"
        part = own(batch[: len(batch) // 2])
    if len(part) and (part - whole[: len(part)]).abs().max() > TOLERANCE * whole.abs().max():
        return "a layer of it mixes the samples of a batch"
    return ""


def _random_state(device: torch.device) -> torch.Tensor:
    return torch.cuda.get_rng_state(device) if device.type == "cuda" else torch.get_rng_state()
