import math
from typing import Any

import pytest

from analysis.figures.interval import interval

ROUNDING = 1e-12  # one subtraction of numbers near 1


def bars(low: float, high: float) -> tuple[Any, Any]:
    """How far the bars reach below and above a dot at 0.5."""
    error: Any = interval("adam", 0.5, low, high, "said").error_x
    return error.arrayminus[0], error.array[0]


def test_each_bar_reaches_its_own_end() -> None:
    assert bars(0.3, 0.9) == (pytest.approx(0.2, abs=ROUNDING), pytest.approx(0.4, abs=ROUNDING))


def test_an_end_that_is_not_known_is_not_drawn() -> None:
    assert bars(math.nan, math.nan) == (0, 0)
    assert bars(0.3, math.nan) == (pytest.approx(0.2, abs=ROUNDING), 0)


def test_an_interval_that_does_not_hold_the_dot_has_one_bar() -> None:
    assert bars(0.6, 0.9) == (0, pytest.approx(0.4, abs=ROUNDING))


def test_a_dot_beyond_the_axis_is_a_triangle_at_its_edge() -> None:
    beyond: Any = interval("adam", 0.5, 0.4, 0.6, "said", (0.7, 0.9))
    assert (beyond.x[0], beyond.marker.symbol, beyond.error_x.array[0]) == (0.7, "triangle-left", 0)
    within: Any = interval("adam", 0.8, 0.4, 0.9, "said", (0.7, 0.9))
    assert (within.x[0], within.marker.symbol) == (0.8, "circle")


def test_what_it_says_is_not_read_as_tags() -> None:
    dot: Any = interval("<b>", 0.5, 0.4, 0.6, "said")
    assert list(dot.y) == ["&lt;b&gt;"] and dot.hovertemplate == "said<extra></extra>"
