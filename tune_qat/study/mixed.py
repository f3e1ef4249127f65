"""Mixed precision: schemes within a budget, whose layers get bits of their own once the first start is there.

Until then each has a place in its scheme, which names no layer and can be neither quantized nor trained.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from tune_qat import quantizers
from tune_qat.config import Range, Scheme, UsageError, stable_hash
from tune_qat.study.method_sections import BUDGETS, MixedSection, QuantizationSection
from tune_qat.study.mistakes import rule_error
from tune_qat.study.space import GROUP_BITS

AVERAGE_BITS, WEIGHT_BYTES, BIT_OPERATIONS = BUDGETS
_UNITS = {AVERAGE_BITS: "", WEIGHT_BYTES: "-bytes", BIT_OPERATIONS: "-operations"}
_PLACE = "("
"""Beginning of what stands in place of layers that have no bits yet; no module's name has it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Budget:
    """Most that the layers of one mixed scheme may cost."""

    key: str
    """Key of the study file: average_weight_bits, weight_bytes or bit_operations."""
    limit: float

    @property
    def text(self) -> str:
        """The key and its value, as the study file has them."""
        return f"{self.key} = {number(self.limit)}"


def number(value: float) -> str:
    """Write a number of a budget as a user would, whole ones without a point."""
    return f"{value:.0f}" if value == int(value) else f"{value:g}"


def budgets_of(part: MixedSection) -> dict[str, Budget]:
    """Name the scheme of each budget, such as `mixed-hessian-4.0`, in the order of the file."""
    (key,) = (key for key in BUDGETS if getattr(part, key) is not None)
    given = getattr(part, key)
    found = {}
    for limit in given if isinstance(given, list) else [given]:
        spelled = repr(float(limit)) if key == AVERAGE_BITS else number(limit)
        found[f"mixed-{part.by}-{spelled}{_UNITS[key]}"] = Budget(key=key, limit=float(limit))
    return found


def mixed_schemes(part: QuantizationSection) -> dict[str, Scheme]:
    """Make the scheme of each budget, by name; one without bits of its layers has a place for them.

    Weight and activation bits are the candidate nearest to the budget, or where that is no number of bits to the mean
    over layers; of a search, whose trials have bits of their own, then the largest.
    """
    if part.mixed is None:
        return {}
    return {name: _scheme(part, part.mixed, name, budget) for name, budget in budgets_of(part.mixed).items()}


def _scheme(part: QuantizationSection, mixed: MixedSection, name: str, budget: Budget) -> Scheme:
    known = part.allocated.get(name, {})
    average = fmean(known.values()) if known and not mixed.groups else mixed.candidates[-1]
    bits = nearest(mixed.candidates, budget.limit if budget.key == AVERAGE_BITS else average)
    own = dict(known or {f"{_PLACE}{name})": bits})
    if mixed.groups:  # those of the search are the trials' own
        own = {layer: mixed.candidates[0] for layers in mixed.groups.values() for layer in layers}
    return candidate(part, bits, {layer: [width, width] for layer, width in own.items()})


def candidate(part: QuantizationSection, bits: int, layers: Mapping[str, Sequence[int]] | None = None) -> Scheme:
    """Make the section's scheme with all layers at a candidate, and bits of `layers` beside those of the section."""
    return quantizers.scheme_of(
        quantizer=part.quantizer,
        activation_quantizer=part.activation_quantizer,
        weight_bits=bits,
        activation_bits=bits,
        first_last_bits=part.first_last_bits,
        ste=part.ste,
        options=part.options,
        layer_bits={**part.layers, **(layers or {})},
        attention=part.attention,
    )


def nearest(candidates: Sequence[int], wanted: float) -> int:
    """Return the candidate nearest to a number of bits, the larger of two."""
    return min(candidates, key=lambda bits: (abs(bits - wanted), -bits))


def searches(part: QuantizationSection, scheme: Scheme) -> bool:
    """Return whether a scheme has bits of groups that are searched."""
    groups = part.mixed.groups if part.mixed else {}
    return bool(groups) and all(layer in scheme.layer_bits for layers in groups.values() for layer in layers)


def group_dimensions(part: QuantizationSection, scheme: Scheme | None) -> dict[str, Range]:
    """Return the dimensions of a scheme whose groups' bits are searched; none of another."""
    if part.mixed is None or scheme is None or not searches(part, scheme):
        return {}
    ends = Range(low=0, high=len(part.mixed.candidates) - 1, log=False)
    return {f"{GROUP_BITS}{group}": ends for group in part.mixed.groups}


def with_positions(part: QuantizationSection, scheme: Scheme, values: dict[str, float]) -> Scheme:
    """Return a scheme with the bits that `values` have for groups, which are taken out of them."""
    if part.mixed is None or not searches(part, scheme):
        return scheme
    own = dict(scheme.layer_bits)
    for group, layers in part.mixed.groups.items():
        bits = part.mixed.candidates[int(values.pop(f"{GROUP_BITS}{group}", 0))]
        own |= dict.fromkeys(layers, (bits, bits))
    return replace(scheme, layer_bits=own)


def positions_of(part: QuantizationSection, scheme: Scheme) -> dict[str, float]:
    """Return the values of a scheme in the dimensions of groups; none of a scheme that has no such bits."""
    if part.mixed is None or not searches(part, scheme):
        return {}
    bits = {group: scheme.layer_bits[layers[0]][0] for group, layers in part.mixed.groups.items()}
    known = part.mixed.candidates
    return {f"{GROUP_BITS}{group}": known.index(one) for group, one in bits.items() if one in known}


def same_but_positions(part: QuantizationSection, one: Scheme, other: Scheme) -> bool:
    """Return whether two schemes differ in nothing but bits of groups, which both search."""
    if not (searches(part, one) and searches(part, other)):
        return False
    return with_positions(part, one, {}) == with_positions(part, other, {})


def default_positions(part: QuantizationSection, scheme: Scheme) -> dict[str, float]:
    """Return the largest candidate for all groups alike that fits the budget, as values of their dimensions."""
    mixed, known = part.mixed, part.group_costs
    names = group_dimensions(part, scheme)
    if mixed is None or not names:
        return {}
    (budget,) = budgets_of(mixed).values()
    fitting = [0]
    for at, bits in enumerate(mixed.candidates):
        if known is None:
            fits = budget.key == AVERAGE_BITS and bits <= budget.limit
        else:
            fits = sum(costs[at] for costs in known.costs.values()) <= known.limit
        fitting += [at] if fits else []
    return dict.fromkeys(names, float(fitting[-1]))


def searched_scheme(part: QuantizationSection, name: str, scheme: Scheme) -> Scheme | None:
    """Return a searched scheme with the bits that an earlier run has chosen; None where there are none."""
    bits = {layer: (width, width) for layer, width in part.allocated.get(name, {}).items()}
    return replace(scheme, layer_bits={**scheme.layer_bits, **bits}) if bits else None


def chosen_bits(part: QuantizationSection, scheme: Scheme) -> dict[str, int]:
    """Return the bits by layer of groups that a scheme of the search has."""
    groups = part.mixed.groups if part.mixed else {}
    return {layer: scheme.layer_bits[layer][0] for layers in groups.values() for layer in layers}


def waits(scheme: Scheme) -> bool:
    """Return whether the layers of a scheme have no bits yet."""
    return any(name.startswith(_PLACE) for name in scheme.layer_bits)


def stand_in(scheme: Scheme) -> Scheme:
    """Return a scheme that takes the time and memory of one whose layers have no bits yet; any other as it is."""
    return replace(scheme, layer_bits={name: bits for name, bits in scheme.layer_bits.items() if name[0] != _PLACE})


def allocation_hash(part: QuantizationSection, name: str) -> str:
    """Hash what the file says of how a mixed scheme comes about: a record's bits hold for this hash alone.

    The start is not in it: bits are allocated once per study.
    """
    assert part.mixed is not None
    budget = budgets_of(part.mixed)[name]
    return stable_hash([measured_hash(part), budget.key, budget.limit])


def measured_hash(part: QuantizationSection) -> str:
    """Hash what the file says of how sensitivities are measured, which all budgets share."""
    assert part.mixed is not None
    mixed = part.mixed.model_dump(exclude=set(BUDGETS), exclude_defaults=True)
    return stable_hash([mixed, candidate(part, part.mixed.candidates[-1]).identity()])


def check_mixed(part: QuantizationSection, mode: str) -> None:
    """Check candidates, budgets and names, and what mixed schemes do not go together with."""
    mixed = part.mixed
    if mixed is None:
        return
    key = "quantization.mixed"
    if mixed.by == "search" and mode != "joint":
        raise rule_error(f"{key}.by", '"search" is for mode = "joint", in which one search proposes all')
    if own := [layer for layers in mixed.groups.values() for layer in layers if layer in part.layers]:
        raise rule_error(f"{key}.groups", f"{own[0]!r} has bits of its own in quantization.layers; keep one of them")
    if part.search_bits:
        raise rule_error(key, "has arms of its own, and search_bits puts all bits into one arm; keep one of them")
    if part.attention and mixed.by == "hessian":
        raise rule_error(f"{key}.by", '"hessian" is about weights, which products of attention lack; use "loss"')
    for bits in mixed.candidates:
        try:
            candidate(part, bits)
        except UsageError as error:
            raise rule_error(f"{key}.candidates", f"{bits} is no bit width of the method. {error}") from None
    for name, budget in budgets_of(mixed).items():
        if name in [one.name for one in part.methods]:
            raise rule_error("quantization.methods", f"{name!r} is the name of a mixed scheme; give another")
        if budget.key == AVERAGE_BITS:
            if wrong := out_of_reach(budget, mixed.candidates[0], mixed.candidates[-1]):
                raise rule_error(f"{key}.{budget.key}", wrong)


def out_of_reach(budget: Budget, least: float, most: float) -> str | None:
    """Say why no layers can meet a budget, or use it, and name the nearest that is possible; None where it fits."""
    if budget.limit < least:
        nearest = f"{number(least)}, with every layer at the smallest candidate"
        return f"{number(budget.limit)} is below what is possible; the nearest is {nearest}"
    if budget.limit > most:
        nearest = f"{number(most)}, with every layer at the largest candidate"
        return f"{number(budget.limit)} is more than layers can use; the nearest is {nearest}"
    return None
