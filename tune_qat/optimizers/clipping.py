"""Gradient clipping between backward and step. Each function returns, as a tensor, whether it changed a gradient.

No function waits for the device.
"""

from collections.abc import Sequence

import torch
from torch import nn


def global_norm(
    parameters: Sequence[nn.Parameter], weights: Sequence[torch.Tensor], *, max_norm: float
) -> torch.Tensor:
    """Scale all gradients so that their global norm is at most `max_norm`.

    Returns 1.0 if it was above, else 0.0, as a tensor of shape ().
    """
    norm = nn.utils.clip_grad_norm_(parameters, max_norm)
    return (norm > max_norm).float()


def adaptive(
    parameters: Sequence[nn.Parameter], weights: Sequence[torch.Tensor], *, clip_factor: float
) -> torch.Tensor:
    """Limit each output unit's gradient to `clip_factor` times its weight's norm (NFNets, eq. 3).

    Only `weights` are clipped: matrices and filters, with output units in dimension 0, the last layer left out as in
    the paper. Returns 1.0 if any gradient changed, else 0.0, as a tensor of shape ().
    """
    from timm.utils.agc import adaptive_clip_grad

    # Compared element by element: in a global norm, one clipped unit would not show beside a layer of large gradients.
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    before = [gradient.clone() for gradient in gradients]
    adaptive_clip_grad(list(weights), clip_factor=clip_factor)
    changed = [(old != new).any() for old, new in zip(before, gradients, strict=True)]
    return torch.stack(changed).any().float() if changed else torch.zeros((), device=parameters[0].device)
