"""Codes of weights that are held where freezing is used: algorithm 1 of Nagel et al., ICML 2022, arXiv 2203.11086.

Part of the contract, because the codes of every method pass through it.
"""

import torch
from torch import nn

from tune_qat.quantizers.codes import Codes


def advance(
    code: torch.Tensor, previous: torch.Tensor, direction: torch.Tensor, frequency: torch.Tensor, momentum: float
) -> None:
    """One step of algorithm 1, as far as frequencies go: a code that moves against its last move oscillates.

    Moves in one direction (0, 1, 2) do not, however many. All tensors have one shape; the last three change in place.

    Args:
        code: integers of this step.
        previous: of the step before.
        direction: sign of the last change of each, 0 before the first.
        frequency: oscillations per step, a moving average.
        momentum: weight of this step in it.
    """
    change = code - previous
    turned = torch.mul(direction, change).lt_(0)
    frequency.lerp_(turned.to(frequency.dtype), momentum)
    direction.add_(change, alpha=2).sign_()  # twice the change outweighs the old direction; none leaves it
    previous.copy_(code)


class FrozenCodes(nn.Module):
    """Which weights of a quantizer are frozen, at which codes, and what decides about the others.

    Everything is in the state of the model. Codes are kept in int8, of which 4 bits or less are stored.
    """

    code: torch.Tensor
    """Where `mask` is set: the integer that stands for the weight in every forward pass, whatever its latent value."""
    mask: torch.Tensor
    previous: torch.Tensor
    direction: torch.Tensor
    frequency: torch.Tensor
    average: torch.Tensor
    """Moving average of the code."""

    def __init__(self, code: torch.Tensor) -> None:
        """`code` holds the integers that training starts from, in the weight's shape; any, if a state is loaded."""
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
        """The codes with those of frozen weights in place.

        No gradient reaches a frozen latent weight. That of the parameters of the grid goes through `value`, which has
        the gradient of the frozen codes' values by them; None where they are constants.
        """
        held = self.code.to(codes.code.dtype)
        if value is not None:
            # Nothing is added but a way back: with g the gradient of a code, that of its value is g / scale.
            held = held + (value - value.detach()) / codes.scale
        return codes._replace(code=torch.where(self.mask, held, codes.code))

    @torch.no_grad()
    def observe(self, code: torch.Tensor, momentum: float, limit: float) -> None:
        """Take in the codes of a training forward pass, and freeze from the next one on what oscillated too often.

        Args:
            code: as the pass used them, those of frozen weights included.
            momentum: of the moving averages.
            limit: a frequency above this freezes.
        """
        integers = code.to(torch.int8)
        advance(integers, self.previous, self.direction, self.frequency, momentum)
        new = (self.frequency > limit) & ~self.mask
        # To the average before this step.
        torch.where(new, self.average.round().to(torch.int8), self.code, out=self.code)
        self.mask.logical_or_(new)
        self.average.lerp_(code, momentum)
