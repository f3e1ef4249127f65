"""How often codes of weights turn around."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from tune_qat.quantizers.base import Quantizer
from tune_qat.quantizers.frozen import advance

MOMENTUM = 0.01
"""Of the recorded frequency, the same in every trial, whatever freezing uses."""
OSCILLATING = 0.005
"""A frequency above this counts as oscillating, as in the paper's tables."""
SAMPLE = 512
"""Most weights of a layer that are followed: all of a small one, one in so many of a large one."""
HELD = 16
"""Steps whose codes are kept before they are worked through, one after the other: small operations take a third of the
time when they follow upon themselves."""


class Watched(nn.Module):
    """A model whose forward pass gives, beside its output, the codes of its weights that are followed.

    Those of the pass itself, and picked inside it, so that a compiled pass hands out one small tensor.
    """

    def __init__(self, model: nn.Module, pairs: Sequence[tuple[Quantizer, torch.Tensor]]) -> None:
        """`pairs`: the quantizers of weights, with their weights."""
        super().__init__()
        self.model = model
        self._pairs = pairs
        self._strides = [stride(weight.numel()) for _, weight in pairs]
        for quantizer, _ in pairs:
            quantizer.watched = True

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Output, and codes of shape (n,), layer after layer; None where no weight is quantized."""
        output = self.model(inputs)
        return output, self.codes() if self._pairs else None

    @torch.no_grad()
    def codes(self) -> torch.Tensor:
        """Of the pass in training mode that has just been made; of layers that it did not reach, as they are now."""
        parts = []
        for (quantizer, weight), every in zip(self._pairs, self._strides, strict=True):
            code = quantizer.seen[-1] if quantizer.seen else quantizer(weight).code
            quantizer.seen.clear()  # nothing of the pass is kept
            parts.append(sample(code, every, planes=code.shape[0] // weight.shape[0]))
        return torch.cat(parts)


class Tracker:
    """Follows a fixed sample of the weights of all layers in one flat tensor, so that a step costs few operations."""

    def __init__(self, codes: torch.Tensor, weights: Sequence[torch.Tensor]) -> None:
        """`codes` are those that training starts from, as `Watched` gives them for these weights."""
        self._sizes = [-(-weight.numel() // stride(weight.numel())) for weight in weights]
        self._previous = codes
        self._direction, self._frequency = torch.zeros_like(codes), torch.zeros_like(codes)
        self._held = codes.new_zeros(HELD, len(codes)).unbind()
        self._count = 0

    @torch.no_grad()
    def observe(self, codes: torch.Tensor) -> None:
        """Take in the codes of a step's forward pass."""
        self._held[self._count].copy_(codes)
        self._count += 1
        if self._count == HELD:
            self._settle()

    def columns(self) -> list[dict[str, float]]:
        """Of each layer: its mean frequency, and the share of weights above `OSCILLATING`."""
        self._settle()
        return [
            {
                "oscillation_frequency": float(part.double().mean()),
                "oscillating_fraction": float((part > OSCILLATING).double().mean()),
            }
            for part in self._frequency.split(self._sizes)
        ]

    def state_dict(self) -> dict[str, torch.Tensor]:
        """All that later frequencies depend on."""
        self._settle()
        return {"previous": self._previous, "direction": self._direction, "frequency": self._frequency}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """The counterpart of `state_dict`."""
        for name, own in self.state_dict().items():
            own.copy_(state[name])

    @torch.no_grad()
    def _settle(self) -> None:
        for codes in self._held[: self._count]:
            advance(codes, self._previous, self._direction, self._frequency, MOMENTUM)
        self._count = 0


def sample(code: torch.Tensor, every: int, *, planes: int) -> torch.Tensor:
    """One weight in `every` of a layer, shape (n,). Planes are added up."""
    if planes > 1:
        code = code.unflatten(0, (-1, planes)).sum(1)
    return code.contiguous().as_strided((-(-code.numel() // every),), (every,))


def stride(numel: int) -> int:
    """One weight in how many of a layer is followed.

    It has no common factor with their number, so that no tap of a filter and no input channel is met more often.
    """
    found = -(-numel // SAMPLE)
    while math.gcd(found, numel) > 1:
        found += 1
    return found
