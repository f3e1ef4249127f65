"""Interval bars."""

import math

import pytest

from tune_qat.text.bars import Scale, axis, bar

ON = Scale(0.0, 10.0, width=11)


@pytest.mark.parametrize(
    ("mean", "low", "high", "drawn"),
    [
        (5, 2, 8, "  ├──●──┤  "),
        (5, 4.8, 5.2, "     ●     "),
        (5, 4, 5.2, "    ├●     "),
        (5, -3, 8, "◂────●──┤  "),
        (5, 2, 30, "  ├──●────▸"),
        (-4, -5, 3, "◂          "),
        (12, 9, 13, "          ▸"),
        (5, math.nan, math.nan, "     ●     "),
        (math.nan, math.nan, math.nan, "           "),
        (0, 0, 10, "●─────────┤"),
    ],
)
def test_a_bar(mean: float, low: float, high: float, drawn: str) -> None:
    assert bar(ON, mean, low, high) == drawn


def test_references_are_behind_bars() -> None:
    assert bar(ON, 5, 2, 8, [1, 3, 99, math.nan]) == " ┊├──●──┤  "


def test_the_axis_has_the_ends_of_the_scale() -> None:
    assert axis(ON, "0.00", "10.0") == "0.00   10.0"
