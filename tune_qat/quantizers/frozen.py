"""Frozen codes of weights: algorithm 1 of Nagel et al., ICML 2022, arXiv 2203.11086.

Part of the contract of quantizers, because the codes of every method pass through it.
"""

import torch
from torch import nn

from tune_qat.quantizers.codes import Codes


def advance(
    code: torch.Tensor, previous: torch.Tensor, direction: torch.Tensor, frequency: torch.Tensor, momentum: float
) -> None:
    """Update oscillation frequencies by one step of algorithm 1.

    A code oscillates when it changes against the direction of its last change; further changes in one direction
    (0, 1, 2) do not count. The four tensors have one shape; all but `code` change in place.

    Args:
        code: integer codes of this step.
        previous: codes of the step before.
        direction: sign of the last change of each code, 0 before the first.
        frequency: oscillations per step, an exponential moving average.
        momentum: weight of this step in the average.
    """
    change = code - previous
    turned = torch.mul(direction, change).lt_(0)
    frequency.lerp_(turned.to(frequency.dtype), momentum)
    direction.add_(change, alpha=2).sign_()  # twice a change outweighs the old direction; no change keeps it
    previous.copy_(code)


class FrozenCodes(nn.Module):
    """The frozen weights of a quantizer with their codes, and the statistics that decide which are frozen next.

    Everything is a buffer, and so part of the model's state. Codes are kept as int8: only weights of at most 4 bits are
    frozen.
    """

    code: torch.Tensor
    """Integers that stand for the weights in every forward pass, whatever their latent values, where `mask` is set."""
    mask: torch.Tensor
    previous: torch.Tensor
    direction: torch.Tensor
    frequency: torch.Tensor
    average: torch.Tensor
    """Moving average of the code."""

    def __init__(self, code: torch.Tensor) -> None:
        """Start with nothing frozen.

        `code` holds the integers that training starts from, in the weight's shape; any values will do if a state is
        loaded afterwards.
        """
        super().__init__()
        integers = code.detach().to(torch.int8)
        for name, value in {
            "code": integers.clone(),
            "mask": torch.zeros_like(integers, dtype=torch.bool),
            "previous": integers.clone(),
            "direction": torch.zeros_like(integers),
            "frequency": torch.zeros_like(code),
            "average": code.detach().clone(),
        }.items():
            self.register_buffer(name, value)

    def forward(self, codes: Codes, value: torch.Tensor | None) -> Codes:
        """Return `codes` with the frozen ones in their places.

        No gradient reaches a frozen latent weight. The grid's parameters get theirs through `value`, which is
        `Quantizer._value_of` of the frozen codes; None where the grid has no parameters.
        """
        held = self.code.to(codes.code.dtype)
        if value is not None:
            # Adds 0, but lets the gradient pass: with g the gradient of a code, that of its value is g / scale.
            held = held + (value - value.detach()) / codes.scale
        return codes._replace(code=torch.where(self.mask, held, codes.code))

    @torch.no_grad()
    def observe(self, code: torch.Tensor, momentum: float, limit: float) -> None:
        """Record the codes of a training forward pass, and freeze those that oscillate too often from the next pass on.

        Args:
            code: the codes as the pass used them, frozen ones included.
            momentum: weight of this pass in the moving averages.
            limit: frequency above which a weight is frozen.
        """
        integers = code.to(torch.int8)
        advance(integers, self.previous, self.direction, self.frequency, momentum)
        new = (self.frequency > limit) & ~self.mask
        # Held at the rounded average before this step.
        torch.where(new, self.average.round().to(torch.int8), self.code, out=self.code)
        self.mask.logical_or_(new)
        self.average.lerp_(code, momentum)
