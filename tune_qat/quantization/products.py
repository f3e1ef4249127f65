"""The product of two activations, as attention has two of, on integer codes."""

from typing import TYPE_CHECKING

import torch
from torch import nn

from tune_qat.quantization.layer import EXACT_LIMIT, Operand, codes_of, full, largest

if TYPE_CHECKING:
    from tune_qat.quantizers.base import Quantizer


class Product(nn.Module):
    """The matrix product `y = (s_l * s_r) * (n_l @ n_r)` of two operands, each with a quantizer of its own or none.

    Equal to dequantizing first, but with sums over integers. Computes in float32 under autocast too, as layers do.
    """

    zeros: torch.Tensor

    def __init__(self, left: str, right: str) -> None:
        """Take the names of both operands, which the record has as `kind`."""
        super().__init__()
        self.roles = (left, right)
        self.name = ""
        self.index = 0
        self.left_quantizer: Quantizer | None = None
        self.right_quantizer: Quantizer | None = None
        self.calibrating = False
        self.features = (0, 0)
        """Number of features in one sample of each operand, known after calibration."""
        self.register_buffer("zeros", torch.zeros(1, 1), persistent=False)
        self.terms = 0
        """Number of products in one output, known after calibration."""

    def forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        """Return the product (..., n, m) of left (..., n, k) and right (..., k, m)."""
        if self.left_quantizer is None and self.right_quantizer is None and not self.calibrating:
            return left @ right
        with torch.autocast(device_type=left.device.type, enabled=False):
            return self._forward(full(left), full(right))

    def _forward(self, left: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
        if self.calibrating:
            self._calibrate(left, right)
        one, other = codes_of(self.left_quantizer, left), codes_of(self.right_quantizer, right)
        output = (one.code @ other.code) * (one.scale * other.scale)
        # The terms that offsets in `value = code * scale + offset` add.
        if other.offset is not None:
            output = output + one.code.sum(-1, keepdim=True) * (one.scale * other.offset)
        if one.offset is not None:
            output = output + other.code.sum(-2, keepdim=True) * (other.scale * one.offset)
        if one.offset is not None and other.offset is not None:
            output = output + left.shape[-1] * one.offset * other.offset
        return output

    def _calibrate(self, left: torch.Tensor, right: torch.Tensor) -> None:
        self.features = (left.numel() // left.shape[0], right.numel() // right.shape[0])
        self.terms = left.shape[-1]
        for quantizer, value in ((self.left_quantizer, left), (self.right_quantizer, right)):
            if quantizer is not None:
                quantizer.calibrate(value)
        self.calibrating = False

    @property
    def operands(self) -> list[Operand]:
        """The left before the right one, those that are quantized."""
        both = zip(self.roles, (self.left_quantizer, self.right_quantizer), self.features, strict=True)
        return [Operand(role, one, count, self.zeros) for role, one, count in both if one is not None]

    @property
    def exact(self) -> bool:
        """Whether every forward sum is exact in float32, for as many terms as the calibration batch had."""
        if self.left_quantizer is None or self.right_quantizer is None:
            return False
        return largest(self.left_quantizer) * largest(self.right_quantizer) * self.terms <= EXACT_LIMIT

    def get_extra_state(self) -> dict[str, int]:
        """Return what calibration has learnt of the operands, as plain values."""
        return {"left_features": self.features[0], "right_features": self.features[1], "terms": self.terms}

    def set_extra_state(self, state: dict[str, int]) -> None:
        self.features, self.terms = (state["left_features"], state["right_features"]), state["terms"]
