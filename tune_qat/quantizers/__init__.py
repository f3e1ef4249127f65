"""The table of quantizers. To add one: a file with its class, and a line here. Free of torch."""

from dataclasses import dataclass

from tune_qat.config import FLOAT_BITS, Scheme, UsageError
from tune_qat.lookup import find


@dataclass(frozen=True, kw_only=True, slots=True)
class QuantizerSpec:
    """One quantizer: what it is called, how it is built, which bit widths it defines, and where it comes from."""

    name: str
    summary: str
    build: str
    """`package.module:class`, called as `class(bits=..., kind="weight" | "activation", name=layer, ste=...)`."""
    bits: range
    """Bit widths that are defined; 32 (not quantized) always is."""
    why_not_less: str
    source: str


_SPECS = (
    QuantizerSpec(
        name="lsq",
        summary="LSQ, learned step size",
        build="tune_qat.quantizers.lsq:LSQ",
        bits=range(2, 9),
        why_not_less="a signed 1-bit grid has no positive level (Q_P = 0), so its step has neither initial value nor "
        "gradient scale",
        source="Esser et al., ICLR 2020, arXiv 1902.08153",
    ),
)

QUANTIZERS: dict[str, QuantizerSpec] = {spec.name: spec for spec in _SPECS}


def get_spec(name: str) -> QuantizerSpec:
    """The quantizer's line of the table; `UsageError` with the valid names where there is none."""
    return find(QUANTIZERS, name, "quantizer")


def check_scheme(scheme: Scheme) -> None:
    """`UsageError` for a bit width that the scheme's quantizer does not define."""
    if scheme.is_float:
        return
    spec = get_spec(scheme.quantizer)
    for part in ("weight_bits", "activation_bits", "first_last_bits"):
        bits = getattr(scheme, part)
        if bits == FLOAT_BITS or bits in spec.bits:
            continue
        why = f": {spec.why_not_less}" if bits < spec.bits.start else ""
        raise UsageError(
            f"Quantizer {spec.name!r} is defined for {spec.bits.start} to {spec.bits.stop - 1} bits, or {FLOAT_BITS} "
            f"(not quantized), but {part} is {bits}{why}."
        )
