"""The line of a method in the table of quantizers. Free of torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tune_qat.config import is_number
from tune_qat.config.lookup import wrong_option

WEIGHTS, ACTIVATIONS = "weight", "activation"


@dataclass(frozen=True, kw_only=True, slots=True)
class Option:
    """An option of a method, and the values that it takes."""

    default: bool | float | str
    choices: tuple[bool | str, ...] = ()
    """The allowed values; empty for numbers."""
    low: float = 0.0
    """Lower limit of a number, itself not allowed."""
    high: float = float("inf")
    """Upper limit of a number, itself allowed."""
    of: tuple[str, ...] = (WEIGHTS, ACTIVATIONS)
    """Kinds of tensors whose quantizers take it."""

    def check(self, name: str, method: str, value: Any) -> bool | float | str:
        """Return the value; raise `UsageError` if it is not allowed."""
        if self.choices:
            if value in self.choices and type(value) is type(self.choices[0]):
                return value
            allowed = ", ".join(str(choice).lower() if isinstance(choice, bool) else choice for choice in self.choices)
            raise wrong_option("quantizer", method, name, f"one of {allowed}", value)
        if not is_number(value) or not self.low < value <= self.high:
            limit = f"above {self.low:g}" + (f" and at most {self.high:g}" if self.high < float("inf") else "")
            raise wrong_option("quantizer", method, name, f"a number {limit}", value)
        return float(value)


@dataclass(frozen=True, kw_only=True, slots=True)
class MethodSide:
    """A method's side for one kind of tensor: how its quantizer is built, and which bit widths it defines."""

    build: str
    """`package.module:class`, called as `class(bits=, kind=, name=layer, ste=, shape=weight's or None, **options)`."""
    bits: range
    """Bit widths that are defined; 32 (not quantized) always is."""
    parameters: bool = True
    """Whether its quantizer has parameters, which an optimizer moves."""
    why: str = ""
    """Reason why lower bit widths are not defined, for the error message; may be empty."""


@dataclass(frozen=True, kw_only=True, slots=True)
class QuantizerSpec:
    """A quantization method: its name, its sides for weights and for activations, its options and its source."""

    name: str
    summary: str
    weights: MethodSide
    activations: MethodSide | None
    """Side of activations; None where the method quantizes weights alone."""
    first_last_bits: int
    """Bit width of the first and the last layer in the paper, used where the study sets none."""
    options: Mapping[str, Option] = field(default_factory=dict)
    range_given: str = ""
    """Reason why the method takes no option `range`: what its paper begins with; empty where it takes one."""
    freezes: bool = True
    """Whether weights of 2 bits and more lie on one grid of consecutive integers, so that they can be frozen."""
    dampens: bool = False
    """Whether latent and quantized weights are on one scale, so that dampening can pull the ones to the others."""
    source: str

    def side(self, kind: str) -> MethodSide | None:
        """Return the side for `weight` or `activation`; None for activations that the method does not quantize."""
        return self.weights if kind == WEIGHTS else self.activations

    @property
    def line(self) -> str:
        """The summary, with the bits that are defined and the names of options."""
        bits = [f"weights {bits_in_words(self.weights.bits)}"]
        if self.activations is not None:
            bits.append(f"activations {bits_in_words(self.activations.bits)}")
        options = f"; options {', '.join(self.options)}" if self.options else ""
        return f"{self.summary} ({', '.join(bits)}{options})"


def range_options(default: str, *more: str, of: tuple[str, ...] = (WEIGHTS, ACTIVATIONS)) -> dict[str, Option]:
    """Make the options of the common range rules (`quantizers/ranges.py`), for a method whose paper leaves it open."""
    return {
        "range": Option(default=default, choices=(*more, "min_max", "percentile", "mse"), of=of),
        "percentile": Option(default=99.99, low=50.0, high=100.0, of=of),
    }


def bits_in_words(bits: range) -> str:
    first, last = bits.start, bits.stop - 1
    if first == last:
        return f"{first} bit{'s' if first > 1 else ''}"
    return f"{first} to {last} bits"
