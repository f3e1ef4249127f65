"""Panels, one per method, over the pairs of bits from floating point to the fewest."""

from collections.abc import Mapping, Sequence

import pandas as pd

from analysis.figures.direct import room
from analysis.figures.panels import Panels
from analysis.figures.style import metric_title, number_format
from tune_qat.text.names import shown

DODGED = 0.24
"""Half the width on which the points at one pair of bits stand beside one another, in steps of the axis."""
PAIR = ["weight_bits", "activation_bits"]
Pair = tuple[float, float]
"""Bits of weights and of activations."""


def pairs_of(rows: pd.DataFrame) -> list[Pair]:
    """Return the pair of bits of each row."""
    return list(zip(rows["weight_bits"], rows["activation_bits"], strict=True))


def places_of(rows: pd.DataFrame) -> dict[Pair, int]:
    """Return the place of each pair of bits on the axis, most bits first."""
    return {pair: place for place, pair in enumerate(sorted(set(pairs_of(rows)), reverse=True))}


def panels_by_bits(
    methods: Sequence[str],
    places: Mapping[Pair, int],
    *,
    metric: str,
    unit: str,
    fence: tuple[float, float] | None,
    names: Sequence[str],
) -> Panels:
    """Return empty panels, one per method.

    `fence` is the range of the metric's axis, None for all that is drawn; `names` are written at the ends of lines.
    """
    return Panels(
        [shown(method) for method in methods],
        x={
            "title": "bits of weights/activations",
            "tickvals": list(places.values()),
            "ticktext": [f"{weights:g}/{activations:g}" for weights, activations in places],
            "range": [-DODGED - 0.06, len(places) - 1 + DODGED + 0.02],
        },
        y={"title": metric_title(metric, unit), "tickformat": number_format(unit), "range": fence},
        columns=3,
        row_height=420,
        least=320 + room(names) // 2,
        room=room(names),
    )
