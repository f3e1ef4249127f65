"""Batch norm: batches too small for it, and statistics estimated anew (Nagel et al., ICML 2022, arXiv 2203.11086)."""

import copy
from collections.abc import Iterable
from functools import partial

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from tune_qat.config import UsageError


def norms(model: nn.Module) -> list[_BatchNorm]:
    """Return the model's batch norms that keep running statistics."""
    return [module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]


@torch.no_grad()
def reestimate(model: nn.Module, batches: Iterable[torch.Tensor]) -> None:
    """Replace running statistics by averages over `batches` of each batch's mean and unbiased variance.

    All other modules run in evaluation mode (no dropout, no other statistics). The model is in evaluation mode
    afterwards.
    """
    found = norms(model)
    model.eval()
    momenta = [norm.momentum for norm in found]
    for norm in found:
        norm.reset_running_stats()
        norm.momentum = None  # None: an average in which each batch has the same weight
        norm.train()
    try:
        for inputs in batches:
            model(inputs)
    finally:
        for norm, momentum in zip(found, momenta, strict=True):
            norm.momentum = momentum
            norm.eval()


@torch.no_grad()
def check_values(model: nn.Module, batch: torch.Tensor, *, training: bool) -> None:
    """Refuse a batch that leaves a layer one value per channel to take statistics of; the model stays as it is.

    Raises `UsageError` that names the layer.
    """
    model, reached = copy.deepcopy(model).train(training), [""]
    for name, module in model.named_modules():
        if not list(module.children()):
            module.register_forward_pre_hook(partial(_note, reached, name))
    try:
        with torch.random.fork_rng(devices=()):
            model(batch)
    except ValueError as error:
        if "Expected more than 1" not in str(error):
            raise
        how = "is trained on" if training else "is evaluated, which it keeps no statistics for, on"
        raise UsageError(
            f"Layer {reached[0]!r} {how} one value per channel in a batch of {len(batch)}: one value has no variance."
        ) from None


def _note(reached: list[str], name: str, *_: object) -> None:
    reached[0] = name
