"""Integer codes with their scale: the output of a quantizer."""

import math
from typing import NamedTuple

import torch


class Codes(NamedTuple):
    """A quantized tensor: `value = code * scale + offset`.

    `code` holds integers in floating point and carries the whole gradient; `scale` and `offset` are constants to
    autograd. With g the gradient that reaches `code`, the gradient of the value is g / scale: the quantizer's own
    backward turns it into the gradients of its input and of its parameters. So the step-size gradient is summed element
    by element and never taken as the difference of two large sums.
    """

    code: torch.Tensor
    scale: torch.Tensor
    """Above 0; shape () for a whole tensor, (out_channels * planes, 1, ...) for a scale per channel."""
    offset: torch.Tensor | None = None
    """Value of code 0, shape (); None where that is 0."""
    slopes: tuple[tuple[torch.Tensor, torch.Tensor], ...] = ()
    """Pairs (parameter, d code / d parameter) for inputs that need no gradient, so that a layer can form the
    parameter's gradient without back-propagating through its input.

    The parameter has shape (), the derivative the code's shape. With g the gradient that reaches `code`,
    the parameter's is the sum of g times the derivative, which therefore includes the gradient scale of LSQ.
    """
    planes: int = 1
    """Rows of a weight's codes for each output channel: channel c is the sum of rows c * planes to
    (c + 1) * planes - 1, each with its own scale."""

    @property
    def value(self) -> torch.Tensor:
        """The dequantized tensor, without a gradient."""
        value = (self.code * self.scale).detach()
        if self.planes > 1:
            value = value.unflatten(0, (-1, self.planes)).sum(1)
        return value if self.offset is None else value + self.offset


def stride_of(minimum: int, maximum: int, bits: int) -> int:
    """Return the distance between neighbouring codes of a grid: 2 for signs, whose grid is -1 and 1."""
    return 2 if maximum - minimum >= 2**bits else 1


def stored_width(minimum: int, maximum: int, bits: int) -> int:
    """Return the bits that a code of a grid takes in a packed byte: 1, 2, 4 or 8; of more than 8 bits whole bytes."""
    levels = (maximum - minimum) // stride_of(minimum, maximum, bits) + 1
    return next((width for width in (1, 2, 4, 8) if 2**width >= levels), 8 * math.ceil(bits / 8))
