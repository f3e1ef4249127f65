"""Bits of groups of layers that a search proposes, brought within the budget."""

from collections.abc import Mapping

from tune_qat.config import Scheme
from tune_qat.quantization.allocation import allocate
from tune_qat.study.method_sections import QuantizationSection
from tune_qat.study.mixed import group_dimensions


def within_budget(part: QuantizationSection, scheme: Scheme, values: Mapping[str, float]) -> Mapping[str, float]:
    """Return searched values whose groups fit the budget: those nearest to the given ones, in steps of candidates.

    Values of a scheme without groups come back as they are, as do all where costs are not known.
    """
    known, names = part.group_costs, list(group_dimensions(part, scheme))
    if known is None or not names or any(name not in values for name in names):
        return values
    costs = list(known.costs.values())
    wanted = [int(values[name]) for name in names]
    if sum(row[at] for row, at in zip(costs, wanted, strict=True)) <= known.limit:
        return values
    steps = [[float(abs(at - one)) for at in range(len(row))] for row, one in zip(costs, wanted, strict=True)]
    found = allocate(steps, costs, known.limit)
    return values if found is None else {**values, **dict(zip(names, found, strict=True))}
