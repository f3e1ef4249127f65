"""A convolution or linear layer that computes on integer codes."""

from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import nn

from tune_qat.config import UsageError
from tune_qat.quantization.layer_ops import (
    KNOWN,
    Layer,
    can_operate_on_data,
    fan_in,
    filters,
    is_known,
    operate,
    operate_on_data,
    sums_of_inputs,
)
from tune_qat.quantizers.codes import Codes
from tune_qat.quantizers.spec import ACTIVATIONS, WEIGHTS

if TYPE_CHECKING:
    from tune_qat.quantizers.base import Quantizer

EXACT_LIMIT = 2**24
"""Integer up to which float32 holds all, so that a sum of codes is the same in any order."""


class Operand(NamedTuple):
    """A quantized operand of a layer or product."""

    role: str
    """Name of the operand, which the record has as `kind`."""
    quantizer: "Quantizer"
    numel: int
    """Weights, or features in one sample of what is no weight."""
    example: torch.Tensor
    """The weight, or zeros: no method's grid of activations depends on their values."""


class QuantizedLayer(nn.Module):
    """A layer `y = (s_x * s_w) * layer(n_x, n_w) + bias` around an unchanged convolution or linear layer of torch.

    Equal to dequantizing first, but with sums over integers. An operand without a quantizer (32 bits) keeps its values.
    Computes in float32 under autocast too, where a shorter format would round the sums.
    """

    def __init__(
        self,
        layer: Layer,
        *,
        name: str,
        index: int,
        weight: "Quantizer | None",
        inputs: "Quantizer | None",
    ) -> None:
        super().__init__()
        _check_known(layer, name)
        padding = "zeros" if isinstance(layer, nn.Linear) else layer.padding_mode
        if padding != "zeros":
            raise UsageError(f"Layer {name!r} pads with {padding!r}; only zero padding can be quantized.")
        self.layer = layer
        self.name = name
        self.index = index
        self.weight_quantizer = weight
        self.input_quantizer = inputs
        self.calibrating = False
        for constant in layer.__constants__:  # such as `kernel_size`, which some models read of their layers
            setattr(self, constant, getattr(layer, constant))
        self.input_features = 0
        """Number of features in one sample of the input, known after calibration."""

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """Return the layer's output, in the shape that the wrapped layer gives."""
        with torch.autocast(device_type=value.device.type, enabled=False):
            return self._forward(full(value))

    def _forward(self, value: torch.Tensor) -> torch.Tensor:
        if self.calibrating:
            self._calibrate(value)
        weight = codes_of(self.weight_quantizer, self.filters)
        inputs = self._input_codes(value, weight)
        output = self._of_codes(inputs, weight)
        if inputs.offset is not None or weight.offset is not None:
            output = output + self._of_offsets(inputs, weight)
        return output if self.layer.bias is None else output + self._of_channels(self.layer.bias)

    def _of_codes(self, inputs: Codes, weight: Codes) -> torch.Tensor:
        if inputs.slopes:
            ((parameter, slope),) = inputs.slopes
            output = operate_on_data(self.layer, inputs.code, weight.code, parameter, slope)
        else:
            output = operate(self.layer, inputs.code, weight.code)
        return self._of_planes(output * (inputs.scale * self._of_channels(weight.scale)), weight)

    def _of_offsets(self, inputs: Codes, weight: Codes) -> torch.Tensor:
        """Return the terms that the offsets in `value = code * scale + offset` add to the product of codes.

        Padding counts as the value 0, not as code 0.
        """
        pixels = torch.ones_like(inputs.code[:1])
        added = []
        if inputs.offset is not None:
            product = operate(self.layer, pixels, weight.code)
            added.append(self._of_planes(product * (inputs.offset * self._of_channels(weight.scale)), weight))
        if weight.offset is not None:
            added.append(sums_of_inputs(self.layer, inputs.code) * (inputs.scale * weight.offset))
        if inputs.offset is not None and weight.offset is not None:
            added.append(sums_of_inputs(self.layer, pixels) * (inputs.offset * weight.offset))
        return sum(added[1:], start=added[0])

    def _of_planes(self, output: torch.Tensor, weight: Codes) -> torch.Tensor:
        if weight.planes == 1:
            return output
        channels = 1 - self.layer.weight.dim() if self.layer.weight.dim() > 2 else -1
        return output.unflatten(channels, (-1, weight.planes)).sum(channels)

    def _of_channels(self, values: torch.Tensor) -> torch.Tensor:
        """Return values, one for each output channel or one for all, in a shape that broadcasts with the output."""
        return values.reshape(-1, *(1,) * (self.layer.weight.dim() - 2)) if values.dim() else values

    def _input_codes(self, value: torch.Tensor, weight: Codes) -> Codes:
        # `slopes` serve a single product of the input's codes: an offset of the weight adds a second one.
        is_data = torch.is_grad_enabled() and not value.requires_grad and weight.offset is None
        if self.input_quantizer is not None and is_data and can_operate_on_data(self.layer):
            return self.input_quantizer.codes_of_constant(value)
        return codes_of(self.input_quantizer, value)

    def _calibrate(self, value: torch.Tensor) -> None:
        self.input_features = value.numel() // value.shape[0]
        if self.input_quantizer is not None:
            self.input_quantizer.calibrate(value)
        if self.weight_quantizer is not None:
            self.weight_quantizer.calibrate(self.filters)
        self.calibrating = False

    @property
    def weight(self) -> torch.Tensor:
        """The latent weight, for models that ask their layers for its type or device."""
        return self.layer.weight

    @property
    def filters(self) -> torch.Tensor:
        """The weight with a row for each output, shape (out_channels, in_channels / groups, ...)."""
        return filters(self.layer)

    @property
    def operands(self) -> list[Operand]:
        """The weight before the input, those that are quantized."""
        weight, found = self.filters, []
        if self.weight_quantizer is not None:
            found.append(Operand(WEIGHTS, self.weight_quantizer, weight.numel(), weight))
        if self.input_quantizer is not None:
            found.append(Operand(ACTIVATIONS, self.input_quantizer, self.input_features, weight.new_zeros(1, 1)))
        return found

    @property
    def exact(self) -> bool:
        """Whether every forward sum is exact in float32: largest codes times fan-in are at most `EXACT_LIMIT`."""
        if self.weight_quantizer is None or self.input_quantizer is None:
            return False
        product = largest(self.input_quantizer) * largest(self.weight_quantizer)
        return product * fan_in(self.layer) <= EXACT_LIMIT

    def get_extra_state(self) -> dict[str, int]:
        """Return what calibration has learnt of the input, as plain values."""
        return {"input_features": self.input_features}

    def set_extra_state(self, state: dict[str, int]) -> None:
        self.input_features = state["input_features"]


def _check_known(layer: nn.Module, name: str) -> None:
    if not is_known(layer):
        raise UsageError(
            f"Layer {name!r} is a {type(layer).__name__}; only {KNOWN}, subclasses that compute "
            f'the same, and timm\'s Conv2dSame can be quantized. Leave it as it is: layers = {{ "{name}" = "float" }}.'
        )
    if "weight" not in layer._parameters:
        raise UsageError(
            f"Layer {name!r} computes its weight from others; only a weight that is a parameter can be quantized."
        )


def codes_of(quantizer: "Quantizer | None", value: torch.Tensor) -> Codes:
    """Return the codes of a value, or the value itself at scale 1 where there is no quantizer."""
    return Codes(value, value.new_ones(())) if quantizer is None else quantizer(value)


def full(value: torch.Tensor) -> torch.Tensor:
    """Return a value in float32 where it is in a shorter format."""
    return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value


def largest(quantizer: "Quantizer") -> int:
    """Return the size of a quantizer's largest code."""
    return max(-quantizer.qmin, quantizer.qmax)
