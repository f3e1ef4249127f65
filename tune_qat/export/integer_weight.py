"""A layer's weight as integers, and how many bits of a file each takes."""

from dataclasses import dataclass

import torch

from tune_qat.config import TuneQatError
from tune_qat.quantization.layer import QuantizedLayer
from tune_qat.quantizers.codes import stored_width, stride_of

BYTE = 8


@dataclass(frozen=True, kw_only=True)
class IntegerWeight:
    """A weight as integers, `value = codes * scale + offset`.

    With two planes, `value = max(codes, 0) * scale[0] + min(codes, 0) * scale[1]`.
    """

    codes: torch.Tensor
    """int8, or uint8 where no code of the grid is below 0; in the shape of `QuantizedLayer.filters`."""
    minimum: int
    """Smallest code of the grid."""
    maximum: int
    bits: int
    scale: torch.Tensor
    """Shape (), (out_channels, 1, ...), or (2,) with two planes."""
    offset: torch.Tensor | None
    """Value of code 0, shape (); None where that is 0."""
    planes: int

    @property
    def stride(self) -> int:
        """Distance between neighbouring codes."""
        return stride_of(self.minimum, self.maximum, self.bits)

    @property
    def width(self) -> int:
        """Bits that a code takes in a packed byte: 1, 2, 4 or 8."""
        return stored_width(self.minimum, self.maximum, self.bits)


@torch.no_grad()
def integer_weight(layer: QuantizedLayer) -> IntegerWeight | None:
    """Return the weight in the codes that the layer computes on; None where it is not quantized.

    Raises `TuneQatError` for planes that are not the positive and the negative part of one tensor, with a scale each.
    """
    quantizer = layer.weight_quantizer
    if quantizer is None:
        return None
    found = quantizer(layer.filters)
    codes, scale = found.code, found.scale
    if found.planes > 1:
        codes, scale = codes.unflatten(0, (-1, found.planes)).sum(1), scale.reshape(-1, found.planes)
        if not torch.equal(parts(codes), found.code) or (scale != scale[0]).any():
            raise TuneQatError(f"Layer {layer.name!r}: its {found.planes} planes cannot be stored as one tensor.")
        scale = scale[0]
    return IntegerWeight(
        codes=codes.to(torch.int8 if quantizer.qmin < 0 else torch.uint8),
        minimum=quantizer.qmin,
        maximum=quantizer.qmax,
        bits=quantizer.bits,
        scale=scale.clone(),
        offset=None if found.offset is None else found.offset.clone(),
        planes=found.planes,
    )


def parts(codes: torch.Tensor) -> torch.Tensor:
    """Return the codes in two planes, channel by channel: those above 0 in row 2c, those below 0 in row 2c + 1."""
    return torch.stack((codes.clamp(min=0), codes.clamp(max=0)), 1).flatten(0, 1)
