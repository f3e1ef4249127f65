"""MARS-AdamW, which knows by its group what a matrix is.

pytorch_optimizer goes by the number of dimensions, so that a quantizer's steps for each channel, (out, 1, 1, 1), would
be a matrix. It also adds 1e-15 to the second moment and eps to its root before it is corrected, which counts for
gradients of 1e-6.
"""

from typing import Any

import torch

from tune_qat.optimizers.adam_based import AdamBased, Tensors
from tune_qat.optimizers.builders import Groups

VECTOR_BETAS = (0.9, 0.95)
"""Betas of AdamW, for what is no matrix; the authors' (github.com/AGI-Arena/MARS, `betas_1d`)."""


class Mars(AdamBased):
    """MARS-AdamW in its approximate form (Yuan et al., ICML 2025, arXiv 2411.10438, algorithm 2).

    Groups with `matrices` get c = g + gamma beta1 / (1 - beta1) (g - last g), scaled to a norm of 1 at most, in place
    of the gradient g; all others AdamW at the same rate. Weight decay is decoupled. Approximate: the last g is that of
    the last batch, and not computed again on this one.
    """

    def __init__(self, groups: Groups, *, lr: float, betas: tuple[float, float], gamma: float, eps: float) -> None:
        """Take groups that bring `params`, `weight_decay` and `matrices`, and may bring an `lr` of their own."""
        super().__init__(groups, {"lr": lr, "betas": betas, "gamma": gamma, "eps": eps})

    def _move(self, group: dict[str, Any], parameters: Tensors, gradients: Tensors) -> None:
        betas = VECTOR_BETAS
        if group["matrices"]:
            betas = group["betas"]
            gradients = self._corrected(parameters, gradients, group["gamma"] * betas[0] / (1 - betas[0]))
        directions = self._directions(parameters, gradients, betas, group["eps"])
        torch._foreach_mul_(parameters, 1 - group["lr"] * group["weight_decay"])
        torch._foreach_add_(parameters, directions, alpha=-group["lr"])

    def _corrected(self, parameters: Tensors, gradients: Tensors, weight: float) -> Tensors:
        """Return the gradients with `weight` times their change since the last step, each with a norm of 1 at most.

        The gradient before the first is 0, as in the authors' code.
        """
        states = [self.state[parameter] for parameter in parameters]
        for state, gradient in zip(states, gradients, strict=True):
            state.setdefault("last_gradient", torch.zeros_like(gradient))
        last = [state["last_gradient"] for state in states]
        corrected: Tensors = list(torch._foreach_sub(gradients, last))
        torch._foreach_mul_(corrected, weight)
        torch._foreach_add_(corrected, gradients)
        torch._foreach_div_(corrected, [norm.clamp(min=1.0) for norm in torch._foreach_norm(corrected)])
        torch._foreach_copy_(last, gradients)
        return corrected


def mars(
    groups: Groups, learning_rate: float, *, beta1: float, beta2: float, gamma: float, eps: float
) -> torch.optim.Optimizer:
    return Mars(groups, lr=learning_rate, betas=(beta1, beta2), gamma=gamma, eps=eps)
