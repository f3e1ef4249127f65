"""Re-estimation of batch-norm statistics from training batches (Nagel et al., ICML 2022, arXiv 2203.11086)."""

from collections.abc import Iterable

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


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
