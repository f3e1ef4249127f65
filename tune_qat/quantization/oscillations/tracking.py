"""Tracking of oscillations: how often the codes of weights reverse their direction."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from tune_qat.quantization.model import quantized_weights
from tune_qat.quantizers.frozen import advance

MOMENTUM = 0.01
"""Momentum of the recorded frequency, the same in every trial, whatever freezing uses."""
OSCILLATING = 0.005
"""Frequency above which a weight counts as oscillating, as in the paper's tables."""
SAMPLE = 512
"""Largest number of weights that are followed in a layer: all of a small one, every n-th of a large one."""
HELD = 16
"""Steps whose codes are collected before they are processed in one go: small operations take a third of the time when
they run back to back."""


class Watched(nn.Module):
    """A model whose forward pass returns, beside its output, the codes of the weights that are followed.

    The codes are those of the pass itself, sampled inside it, so that a compiled pass returns one small tensor.
    """

    def __init__(self, model: nn.Module) -> None:
        """Let the quantizers of weights keep the codes of a pass."""
        super().__init__()
        self.model = model
        self._layers = quantized_weights(model)
        self._strides = [stride(layer.layer.weight.numel()) for _, layer in self._layers]
        for quantizer, _ in self._layers:
            quantizer.watched = True

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Return the output, and the codes of all layers in one tensor (n,), or None where no weight is quantized."""
        output = self.model(inputs)
        return output, self.codes() if self._layers else None

    @torch.no_grad()
    def codes(self) -> torch.Tensor:
        """Return the followed codes of the latest pass in training mode, shape (n,).

        Layers that the pass did not reach give their present codes.
        """
        parts = []
        for (quantizer, layer), every in zip(self._layers, self._strides, strict=True):
            found = quantizer.seen[-1] if quantizer.seen else quantizer(layer.filters).code
            quantizer.seen.clear()  # frees the codes of the pass
            parts.append(sample(found, every, planes=found.numel() // layer.layer.weight.numel()))
        return torch.cat(parts)


class Tracker:
    """Oscillation frequencies of a fixed sample of weights, of all layers in one tensor: few operations for a step."""

    def __init__(self, codes: torch.Tensor, weights: Sequence[torch.Tensor]) -> None:
        """Start from the codes that training starts from, as `Watched.codes` returns them for these weights."""
        self._sizes = [-(-weight.numel() // stride(weight.numel())) for weight in weights]
        self._previous = codes
        self._direction, self._frequency = torch.zeros_like(codes), torch.zeros_like(codes)
        self._held = codes.new_zeros(HELD, len(codes)).unbind()
        self._count = 0

    @torch.no_grad()
    def observe(self, codes: torch.Tensor) -> None:
        """Record the codes of a step's forward pass."""
        self._held[self._count].copy_(codes)
        self._count += 1
        if self._count == HELD:
            self._settle()

    def columns(self) -> list[dict[str, float]]:
        """Return each layer's mean oscillation frequency, and its share of weights above `OSCILLATING`."""
        self._settle()
        return [
            {
                "oscillation_frequency": float(part.double().mean()),
                "oscillating_fraction": float((part > OSCILLATING).double().mean()),
            }
            for part in self._frequency.split(self._sizes)
        ]

    def state_dict(self) -> dict[str, torch.Tensor]:
        """Return all that later frequencies depend on."""
        self._settle()
        return {"previous": self._previous, "direction": self._direction, "frequency": self._frequency}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        for name, own in self.state_dict().items():
            own.copy_(state[name])

    @torch.no_grad()
    def _settle(self) -> None:
        for codes in self._held[: self._count]:
            advance(codes, self._previous, self._direction, self._frequency, MOMENTUM)
        self._count = 0


def sample(code: torch.Tensor, every: int, *, planes: int) -> torch.Tensor:
    """Return the code of one weight in `every` of a layer, shape (n,). Planes are added up."""
    if planes > 1:
        code = code.unflatten(0, (-1, planes)).sum(1)
    return code.contiguous().as_strided((-(-code.numel() // every),), (every,))


def stride(numel: int) -> int:
    """Return n for a layer of `numel` weights, of which every n-th is followed.

    It has no common factor with `numel`, so that all taps of a filter and all input channels are met equally often.
    """
    found = -(-numel // SAMPLE)
    while math.gcd(found, numel) > 1:
        found += 1
    return found
