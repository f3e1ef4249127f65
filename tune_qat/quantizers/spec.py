"""Lines of the table of quantizers. Free of torch."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tune_qat.config import is_number
from tune_qat.config.lookup import wrong_option

WEIGHTS, ACTIVATIONS = "weight", "activation"


@dataclass(frozen=True, kw_only=True, slots=True)
class Option:
    """An option of a method, and what it may be."""

    default: bool | float | str
    choices: tuple[bool | str, ...] = ()
    """All that is allowed; empty for numbers."""
    low: float = 0.0
    """A number has to be above this."""
    high: float = float("inf")
    """And at most this."""
    of: tuple[str, ...] = (WEIGHTS, ACTIVATIONS)
    """Whose quantizers take it."""

    def check(self, name: str, method: str, value: Any) -> bool | float | str:
        """Take a value that is allowed; `UsageError` for any other."""
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
class Half:
    """One side of a method, weights or activations: how its quantizer is built, and which bit widths it defines."""

    build: str
    """`package.module:class`, called as `class(bits=, kind=, name=layer, ste=, shape=weight's or None, **options)`."""
    bits: range
    """Bit widths that are defined; 32 (not quantized) always is."""
    why: str = ""
    """Why others are not, where there is more to say than their number."""


@dataclass(frozen=True, kw_only=True, slots=True)
class QuantizerSpec:
    """One method: what it is called, what it does to weights and to activations, and where it comes from."""

    name: str
    summary: str
    weights: Half
    activations: Half | None
    """None where the method quantizes weights alone."""
    first_last_bits: int
    """Bits of the first and the last layer where the study says nothing: as in the paper."""
    options: Mapping[str, Option] = field(default_factory=dict)
    freezes: bool = True
    """Whether weights of 2 bits and more have one grid of consecutive integers, on which they can be frozen."""
    dampens: bool = False
    """Whether weights are rounded as they are, so that a distance from their quantized value means something."""
    source: str

    def half(self, kind: str) -> Half | None:
        """Choose the half of `weight` or `activation`."""
        return self.weights if kind == WEIGHTS else self.activations

    @property
    def line(self) -> str:
        """The summary, with the bits that are defined and the names of options."""
        bits = [f"weights {bits_in_words(self.weights.bits)}"]
        if self.activations is not None:
            bits.append(f"activations {bits_in_words(self.activations.bits)}")
        options = f"; options {', '.join(self.options)}" if self.options else ""
        return f"{self.summary} ({', '.join(bits)}{options})"


def bits_in_words(bits: range) -> str:
    first, last = bits.start, bits.stop - 1
    if first == last:
        return f"{first} bit{'s' if first > 1 else ''}"
    return f"{first} to {last} bits"
