"""A scheme: which quantizer at how many bits on which layers."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from tune_qat.config.later import drop_unused, later
from tune_qat.config.values import FLOAT_BITS, STE_VARIANTS, check, pair, settle, whole


@dataclass(frozen=True, kw_only=True, slots=True)
class Scheme:
    """Quantizers, their options and their bits, for all layers and for single ones."""

    quantizer: str = "lsq"
    """Method of weights."""
    activation_quantizer: str = ""
    """Method of activations; that of weights where it is left empty."""
    weight_bits: int = 4
    activation_bits: int = 4
    first_last_bits: int = 8
    """Bits of the first and the last layer and of squeeze-excite gates, weights and inputs, where quantized at all."""
    ste: str = STE_VARIANTS[0]
    """`clip_then_round` (the paper) or `round_then_clip` (torch, brevitas, MQBench); of LSQ and LSQ+."""
    options: Mapping[str, Any] = later(default_factory=dict, hash=False)
    """Options of the two methods, where they differ from the table's values."""
    layer_bits: Mapping[str, tuple[int, int]] = later(default_factory=dict, hash=False)
    """Weight and activation bits of layers by name, in place of all else; 32: not quantized."""
    float_layers: tuple[str, ...] = later(())
    """Names of layers that stay what they are, of whatever type."""
    attention: bool = later(False)
    """Whether the two products of attention are quantized, beside the linear layers around them."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "activation_quantizer", self.activation_quantizer or self.quantizer)
        object.__setattr__(self, "options", dict(self.options))
        pairs = {name: pair(f"layer_bits of {name!r}", bits) for name, bits in self.layer_bits.items()}
        object.__setattr__(self, "layer_bits", pairs)
        named = self.float_layers
        check(not isinstance(named, str), "float_layers", "be a list of names of layers", named)
        object.__setattr__(self, "float_layers", tuple(sorted(set(named))))
        check(isinstance(self.attention, bool), "attention", "be true or false", self.attention)
        both = sorted(pairs.keys() & set(self.float_layers))
        check(not both, "float_layers", "name no layer that has bits of its own (layer_bits)", both)
        settle(self, whole, "weight_bits", "activation_bits", "first_last_bits")
        check(self.ste in STE_VARIANTS, "ste", f"be one of {', '.join(STE_VARIANTS)}", self.ste)

    @classmethod
    def floating_point(cls) -> "Scheme":
        """Make the 32/32 control: one spelling, whatever the quantizer of other arms, so that its trials are shared."""
        return cls(quantizer="none", weight_bits=FLOAT_BITS, activation_bits=FLOAT_BITS, first_last_bits=FLOAT_BITS)

    def identity(self) -> dict[str, Any]:
        """Pick what determines a trial's numbers, for hashing; newer fields at their default are left out."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        drop_unused(Scheme, values)
        if values["activation_quantizer"] == values["quantizer"]:
            del values["activation_quantizer"]
        return values

    @property
    def is_float(self) -> bool:
        return self.weight_bits == self.activation_bits == FLOAT_BITS

    @property
    def label(self) -> str:
        """Short name for tables and identifiers, such as `w4a4`."""
        return f"w{self.weight_bits}a{self.activation_bits}"
