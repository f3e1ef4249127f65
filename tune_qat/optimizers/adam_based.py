"""The base of optimizers that are written here: Adam's direction for all parameters of a group at once."""

import math
from abc import ABC, abstractmethod
from typing import Any

import torch

Tensors = list[torch.Tensor]


class AdamBased(torch.optim.Optimizer, ABC):
    """An optimizer that makes something of Adam's direction; a subclass says what, in `_move`."""

    @torch.no_grad()
    def step(self) -> None:  # type: ignore[override]  # training passes no closure
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            parameters = [parameter for parameter in group["params"] if parameter.grad is not None]
            if parameters:
                self._move(group, parameters, [parameter.grad for parameter in parameters])

    @abstractmethod
    def _move(self, group: dict[str, Any], parameters: Tensors, gradients: Tensors) -> None:
        """Move the parameters of one group in place; gradients stay as they are."""

    def _directions(self, parameters: Tensors, gradients: Tensors, betas: tuple[float, float], eps: float) -> Tensors:
        """Move the moments on, and return m / (sqrt(v) + eps) with both corrected for their start at 0.

        Kingma & Ba, ICLR 2015, arXiv 1412.6980, algorithm 1: eps stands beside the root of the corrected moment. Each
        parameter counts its own steps. The tensors returned are new.
        """
        states = [self.state[parameter] for parameter in parameters]
        for state, parameter in zip(states, parameters, strict=True):
            if not state.get("step"):
                state.update(step=0, exp_avg=torch.zeros_like(parameter), exp_avg_sq=torch.zeros_like(parameter))
            state["step"] += 1
        first, second = [state["exp_avg"] for state in states], [state["exp_avg_sq"] for state in states]
        beta1, beta2 = betas
        torch._foreach_lerp_(first, gradients, 1 - beta1)
        torch._foreach_mul_(second, beta2)
        torch._foreach_addcmul_(second, gradients, gradients, 1 - beta2)
        roots = torch._foreach_sqrt(second)
        torch._foreach_div_(roots, [math.sqrt(1 - beta2 ** state["step"]) for state in states])
        torch._foreach_add_(roots, eps)
        directions: Tensors = list(torch._foreach_div(first, [1 - beta1 ** state["step"] for state in states]))
        torch._foreach_div_(directions, roots)
        return directions

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Load a state; raise `ValueError` for one that another optimizer of the same name has saved.

        Earlier versions used a library's, whose numbers differ and which counts no steps of single parameters.
        """
        if any("step" not in state for state in state_dict["state"].values()):
            raise ValueError("The optimizer's state is of an earlier version, which computed other numbers.")
        super().load_state_dict(state_dict)
