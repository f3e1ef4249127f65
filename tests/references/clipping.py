"""Gradient clipping in plain Python loops."""

import math

import torch


def adaptive(weight: torch.Tensor, gradient: torch.Tensor, clip_factor: float, eps: float = 1e-3) -> torch.Tensor:
    """Equation 3 of Brock et al. (arXiv 2102.06171), an output unit (row or filter) at a time."""
    result = gradient.clone()
    for unit in range(len(weight)):
        weight_norm = max(_norm(weight[unit]), eps)
        gradient_norm = _norm(gradient[unit])
        if gradient_norm > clip_factor * weight_norm:
            result[unit] = gradient[unit] * (clip_factor * weight_norm / gradient_norm)
    return result


def _norm(values: torch.Tensor) -> float:
    return math.sqrt(sum(value**2 for value in values.flatten().tolist()))
