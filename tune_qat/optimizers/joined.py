"""Several optimizers that are used as one."""

from collections.abc import Mapping
from typing import Any

import torch


class Joined:
    """Optimizers of different parameters, stepped together, with the methods of a single one that training needs."""

    def __init__(self, *parts: torch.optim.Optimizer) -> None:
        self.parts = parts

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        return [group for part in self.parts for group in part.param_groups]

    def zero_grad(self, set_to_none: bool = True) -> None:
        for part in self.parts:
            part.zero_grad(set_to_none=set_to_none)

    def step(self) -> None:
        for part in self.parts:
            part.step()

    def state_dict(self) -> dict[str, Any]:
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for part, own in zip(self.parts, state["parts"], strict=True):
            part.load_state_dict(own)


Optimizer = torch.optim.Optimizer | Joined


def parts_of(optimizer: Optimizer) -> tuple[torch.optim.Optimizer, ...]:
    """Return the torch optimizers that `optimizer` consists of."""
    return optimizer.parts if isinstance(optimizer, Joined) else (optimizer,)
