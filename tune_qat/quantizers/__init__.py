"""The table of quantization methods. To add one: a file with its classes, and a line here. Free of torch."""

from collections.abc import Iterable, Mapping
from typing import Any

from tune_qat.config import FLOAT_BITS, STE_VARIANTS, Scheme, UsageError
from tune_qat.config.lookup import Table, check_options
from tune_qat.quantizers.spec import (
    ACTIVATIONS,
    WEIGHTS,
    MethodSide,
    Option,
    QuantizerSpec,
    bits_in_words,
    range_options,
)

_LSQ_BITS = (
    "a signed 1-bit grid has no positive level (Q_P = 0), so its step has neither initial value nor gradient scale"
)
_QIL_BITS = "a symmetric 1-bit grid has no level but 0"
_TERNARY = "three values need 2 bits"
LEFT = "float"
"""Word in place of a layer's bits that leaves the layer in floating point."""
_SPECS = (
    QuantizerSpec(
        name="lsq",
        summary="LSQ, learned step size",
        weights=MethodSide(build="tune_qat.quantizers.lsq:LSQ", bits=range(2, 9), why=_LSQ_BITS),
        activations=MethodSide(build="tune_qat.quantizers.lsq:LSQ", bits=range(2, 9), why=_LSQ_BITS),
        first_last_bits=8,
        options={"per_channel": Option(default=False, choices=(False, True), of=(WEIGHTS,))},
        range_given="its paper gives the initial step, 2 <|v|> / sqrt(Q_P)",
        dampens=True,
        source="Esser et al., ICLR 2020, arXiv 1902.08153",
    ),
    QuantizerSpec(
        name="lsq_plus",
        summary="LSQ+, learned step and offset of activations",
        weights=MethodSide(build="tune_qat.quantizers.lsq_plus:LSQPlusWeight", bits=range(2, 9), why=_LSQ_BITS),
        activations=MethodSide(build="tune_qat.quantizers.lsq_plus:LSQPlusActivation", bits=range(2, 9), why=_LSQ_BITS),
        first_last_bits=8,
        options={
            "activations": Option(
                default="unsigned_asymmetric",
                choices=("unsigned_symmetric", "signed_symmetric", "signed_asymmetric", "unsigned_asymmetric"),
                of=(ACTIVATIONS,),
            ),
            "offset": Option(default="learned", choices=("learned", "minimum", "zero"), of=(ACTIVATIONS,)),
            "offset_gradient": Option(default="scaled", choices=("scaled", "unscaled"), of=(ACTIVATIONS,)),
            "init": Option(default="lsq_plus", choices=("lsq_plus", "min_max", "lsq")),
            "per_channel": Option(default=False, choices=(False, True), of=(WEIGHTS,)),
        },
        range_given="its paper gives the initial step and offset, among which option 'init' chooses",
        dampens=True,
        source="Bhalgat et al., CVPR Workshops 2020, arXiv 2004.09576",
    ),
    QuantizerSpec(
        name="pact",
        summary="PACT, activations clipped at a learned level; weights as DoReFa's",
        weights=MethodSide(build="tune_qat.quantizers.dorefa:DoReFaWeight", bits=range(1, 9), parameters=False),
        activations=MethodSide(build="tune_qat.quantizers.pact:PACT", bits=range(1, 9)),
        first_last_bits=FLOAT_BITS,
        options={
            "alpha_init": Option(default=10.0, of=(ACTIVATIONS,)),
            "detach_max": Option(default=False, choices=(False, True), of=(WEIGHTS,)),
            **range_options("fixed", "fixed", of=(ACTIVATIONS,)),
        },
        source="Choi et al., 2018, arXiv 1805.06085",
    ),
    QuantizerSpec(
        name="dsq",
        summary="DSQ, differentiable soft quantization",
        weights=MethodSide(build="tune_qat.quantizers.dsq:DSQ", bits=range(1, 9)),
        activations=MethodSide(build="tune_qat.quantizers.dsq:DSQ", bits=range(1, 9)),
        first_last_bits=FLOAT_BITS,
        options={"alpha_init": Option(default=0.2, high=0.5), **range_options("min_max")},
        dampens=True,
        source="Gong et al., ICCV 2019, arXiv 1908.05033",
    ),
    QuantizerSpec(
        name="qil",
        summary="QIL, learned quantization intervals",
        weights=MethodSide(build="tune_qat.quantizers.qil:QILWeight", bits=range(2, 9), why=_QIL_BITS),
        activations=MethodSide(build="tune_qat.quantizers.qil:QILActivation", bits=range(1, 9)),
        first_last_bits=FLOAT_BITS,
        options={
            "gamma": Option(default="auto", choices=("auto", "learned", "fixed"), of=(WEIGHTS,)),
            **range_options("min_max"),
        },
        source="Jung et al., CVPR 2019, arXiv 1808.05779",
    ),
    QuantizerSpec(
        name="qnn",
        summary="QNN, a fixed grid in [-1, 1]; at one bit BNN",
        weights=MethodSide(build="tune_qat.quantizers.qnn:QNN", bits=range(1, 9), parameters=False),
        activations=MethodSide(build="tune_qat.quantizers.qnn:QNN", bits=range(1, 9), parameters=False),
        first_last_bits=FLOAT_BITS,
        range_given="its grid is fixed, from -1 to 1",
        dampens=True,
        source="Hubara et al., 2016, arXiv 1609.07061 and 1602.02830",
    ),
    QuantizerSpec(
        name="dorefa",
        summary="DoReFa-Net, weights through tanh and activations in [0, 1]",
        weights=MethodSide(build="tune_qat.quantizers.dorefa:DoReFaWeight", bits=range(1, 9), parameters=False),
        activations=MethodSide(build="tune_qat.quantizers.dorefa:DoReFaActivation", bits=range(1, 9), parameters=False),
        first_last_bits=FLOAT_BITS,
        options={"detach_max": Option(default=False, choices=(False, True), of=(WEIGHTS,))},
        range_given="its grids are fixed: weights are mapped to [-1, 1] by tanh, activations clipped to [0, 1]",
        source="Zhou et al., 2016, arXiv 1606.06160",
    ),
    QuantizerSpec(
        name="xnor",
        summary="XNOR-Net, signs with the mean size of a filter",
        weights=MethodSide(build="tune_qat.quantizers.xnor:XNORWeight", bits=range(1, 2), parameters=False),
        activations=MethodSide(build="tune_qat.quantizers.xnor:XNORActivation", bits=range(1, 2), parameters=False),
        first_last_bits=FLOAT_BITS,
        options={"gradient": Option(default="paper", choices=("paper", "code"), of=(WEIGHTS,))},
        range_given="it takes the mean |w| of each filter at every step",
        source="Rastegari et al., ECCV 2016, arXiv 1603.05279",
    ),
    QuantizerSpec(
        name="twn",
        summary="TWN, ternary weights with one size",
        weights=MethodSide(build="tune_qat.quantizers.twn:TWN", bits=range(2, 3), parameters=False, why=_TERNARY),
        activations=None,
        first_last_bits=FLOAT_BITS,
        options={"threshold": Option(default=0.7, of=(WEIGHTS,))},
        range_given="it takes the mean |w| above its threshold at every step",
        source="Li et al., 2016, arXiv 1605.04711",
    ),
    QuantizerSpec(
        name="ttq",
        summary="TTQ, ternary weights with two learned sizes",
        weights=MethodSide(build="tune_qat.quantizers.ttq:TTQ", bits=range(2, 3), why=_TERNARY),
        activations=None,
        first_last_bits=FLOAT_BITS,
        options={"threshold": Option(default=0.05, high=0.9, of=(WEIGHTS,))},
        freezes=False,
        range_given="nothing is clipped: its two sizes begin at 1 and are learned",
        source="Zhu et al., ICLR 2017, arXiv 1612.01064",
    ),
)

QUANTIZERS = Table("quantizer", _SPECS)
get_spec = QUANTIZERS.get_spec


def scheme_of(
    *,
    quantizer: str,
    activation_quantizer: str | None = None,
    weight_bits: int,
    activation_bits: int,
    first_last_bits: int | None = None,
    ste: str = STE_VARIANTS[0],
    options: Mapping[str, Any] | None = None,
    layer_bits: Mapping[str, Any] | None = None,
    float_layers: Iterable[str] = (),
    attention: bool = False,
) -> Scheme:
    """Return the checked scheme; 32/32 is the floating-point control.

    `layer_bits` has a pair of bits for each layer that it names, or `LEFT`, as if `float_layers` named it. Options at
    their default are left out, so that a new option does not change the identity of old schemes.

    Raises `UsageError` for an unknown method or option, or for a bit width that a method does not define.
    """
    spec, other = get_spec(quantizer), get_spec(activation_quantizer or quantizer)
    checked = _checked_options(spec, other, options or {})
    if weight_bits == activation_bits == FLOAT_BITS:
        return Scheme.floating_point()
    named = layer_bits or {}
    scheme = Scheme(
        quantizer=quantizer,
        activation_quantizer=other.name,
        weight_bits=weight_bits,
        activation_bits=activation_bits,
        first_last_bits=spec.first_last_bits if first_last_bits is None else first_last_bits,
        ste=ste,
        options=checked,
        layer_bits={name: bits for name, bits in named.items() if bits != LEFT},
        float_layers=(*float_layers, *(name for name, bits in named.items() if bits == LEFT)),
        attention=attention,
    )
    check_scheme(scheme)
    return scheme


def check_scheme(scheme: Scheme) -> None:
    """Raise `UsageError` for a bit width that the scheme's methods do not define."""
    if scheme.is_float:
        return
    for index, (kind, name, bits) in enumerate(_sides(scheme)):
        for layer, pair in scheme.layer_bits.items():
            _check_bits(name, kind, f"layer_bits of {layer!r} ({kind})", pair[index])
        if bits != FLOAT_BITS:
            _check_bits(name, kind, f"{kind}_bits", bits)
            _check_bits(name, kind, "first_last_bits", scheme.first_last_bits)
    if scheme.weight_bits == FLOAT_BITS:
        get_spec(scheme.quantizer)


def check_recipe(scheme: Scheme, *, freezing: bool, dampening: bool) -> None:
    """Raise `UsageError` for freezing or dampening of weights whose method does not allow it."""
    if all(bits == FLOAT_BITS for bits in (scheme.weight_bits, *(pair[0] for pair in scheme.layer_bits.values()))):
        return
    spec = get_spec(scheme.quantizer)
    if freezing and (not spec.freezes or scheme.weight_bits == 1):
        raise UsageError(
            f"Weights of quantizer {spec.name!r} at weight_bits = {scheme.weight_bits} cannot be frozen: that needs "
            "one grid of consecutive integers, which neither 1 bit (two signs) nor 'ttq' (two sizes) has. Leave out "
            "freezing, or take more bits or another quantizer."
        )
    if dampening and not spec.dampens:
        allowed = ", ".join(name for name, one in QUANTIZERS.items() if one.dampens)
        raise UsageError(
            f"Weights of quantizer {spec.name!r} cannot be dampened: the loss pulls latent weights to their quantized "
            f"values, which needs both on one scale, as in {allowed}. Leave out dampening, or take one of these."
        )


def has_parameters(scheme: Scheme) -> bool:
    """Return whether quantizers of the scheme have parameters, such as LSQ's step sizes, which an optimizer moves."""
    for index, (kind, name, bits) in enumerate(_sides(scheme)):
        side = get_spec(name).side(kind) if name in QUANTIZERS else None
        quantized = any(one != FLOAT_BITS for one in (bits, *(pair[index] for pair in scheme.layer_bits.values())))
        if quantized and side is not None and side.parameters:
            return True
    return False


def options_of(scheme: Scheme, kind: str) -> dict[str, Any]:
    """Return every option of the quantizers of `kind` (`weight` or `activation`): the scheme's, else the default."""
    table = get_spec(scheme.quantizer if kind == WEIGHTS else scheme.activation_quantizer).options
    return {name: scheme.options.get(name, option.default) for name, option in table.items() if kind in option.of}


def _sides(scheme: Scheme) -> tuple[tuple[str, str, int], ...]:
    """Return kind, method and bits of weights and of activations."""
    return (
        (WEIGHTS, scheme.quantizer, scheme.weight_bits),
        (ACTIVATIONS, scheme.activation_quantizer, scheme.activation_bits),
    )


def _checked_options(weights: QuantizerSpec, activations: QuantizerSpec, given: Mapping[str, Any]) -> dict[str, Any]:
    known = {
        name: (spec.name, option)
        for spec, kind in ((weights, WEIGHTS), (activations, ACTIVATIONS))
        for name, option in spec.options.items()
        if kind in option.of
    }
    _check_range(weights, activations, given, known)
    check_options("quantizer", weights.name, given, known)
    checked = {name: known[name][1].check(name, known[name][0], value) for name, value in given.items()}
    return {name: value for name, value in checked.items() if value != known[name][1].default}


def _check_range(
    weights: QuantizerSpec, activations: QuantizerSpec, given: Mapping[str, Any], known: Mapping[str, Any]
) -> None:
    """Raise `UsageError` for a range where the method's paper gives it, and for a percentile that nothing reads."""
    if "range" in given and "range" not in known:
        why = weights.range_given or activations.range_given
        raise UsageError(f"Quantizer {weights.name!r} takes no option 'range': {why}. Leave it out.")
    rule = given.get("range", known["range"][1].default if "range" in known else None)
    if "percentile" in given and "percentile" in known and rule != "percentile":
        raise UsageError(f"Option 'percentile' is read with range = \"percentile\" alone, but range is {rule!r}.")


def _check_bits(method: str, kind: str, part: str, bits: int) -> None:
    side = get_spec(method).side(kind)
    if bits == FLOAT_BITS or (side is not None and bits in side.bits):
        return
    if side is None:
        raise UsageError(
            f"Quantizer {method!r} quantizes weights alone: {part} must be {FLOAT_BITS}, or activations need a method "
            f"of their own (activation_quantizer), but {part} is {bits}."
        )
    why = f": {side.why}" if side.why and bits < side.bits.start else ""
    raise UsageError(
        f"Quantizer {method!r} is defined for {bits_in_words(side.bits)} of {kind}s, or {FLOAT_BITS} (not quantized), "
        f"but {part} is {bits}{why}."
    )
