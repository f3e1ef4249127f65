"""What a quantizer gives: integer codes and a scale."""

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
    """Above 0, shape () per tensor, or (out_channels * planes, 1, ...) per channel."""
    offset: torch.Tensor | None = None
    """Shape (); the value of code 0 where that is not 0."""
    slopes: tuple[tuple[torch.Tensor, torch.Tensor], ...] = ()
    """Of data: each parameter of shape (), with the factors of the codes' gradients in its own, in the code's shape."""
    planes: int = 1
    """Of weights: output channel c is the sum of rows c * planes up to (c + 1) * planes, each with its own scale."""

    @property
    def value(self) -> torch.Tensor:
        """The dequantized tensor, without a gradient."""
        value = (self.code * self.scale).detach()
        if self.planes > 1:
            value = value.unflatten(0, (-1, self.planes)).sum(1)
        return value if self.offset is None else value + self.offset
