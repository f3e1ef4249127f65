"""Plots in characters."""

import pytest

from tune_qat.text.plots import Plot, Tick, framed


def test_both_ends_of_both_axes_are_inside() -> None:
    plot = Plot(10, 4, (0.0, 1.0), (-3.0, 7.0))
    for x in (0.0, 1.0):
        plot.marks([x, x], [-3.0, 7.0], "o")
    top, *between, bottom = plot.rows()
    assert top == bottom == "o        o"
    assert between == [" " * 10] * 2


def test_what_is_off_the_scale_is_marked_at_its_edge() -> None:
    plot = Plot(9, 3, (0.0, 8.0), (0.0, 1.0))
    plot.marks([0.0, 4.0, 8.0], [-5.0, 0.5, 40.0], "o")
    plot.marks([2.0], [-9.0], "x", edge=True)
    assert plot.rows() == ["        ^", "    o    ", "v x      "]


@pytest.mark.parametrize("height", [1, 5, 10])
def test_a_value_is_in_the_row_that_is_said(height: int) -> None:
    for step in range(41):
        plot = Plot(1, height, (0.0, 1.0), (0.0, 40.0))
        plot.marks([0.0], [float(step)], "o")
        assert plot.rows()[plot.row(float(step))] == "o"


def test_a_line_goes_through_its_points_and_no_further_than_the_edge() -> None:
    plot = Plot(20, 5, (0.0, 1.0), (0.0, 1.0))
    plot.line([0.0, 0.5, 1.0], [0.0, 1e9, 0.0])
    rows = plot.rows()
    assert rows[0][10].strip() and rows[-1][0].strip() and rows[-1][-1].strip()
    assert all(len(row) == 20 for row in rows)


def test_a_frame_has_ticks_with_room_for_their_labels() -> None:
    plot = Plot(12, 2, (0.0, 11.0), (0.0, 1.0))
    ticks = [Tick(0.0, "1e-5"), Tick(1.0, "no room"), Tick(6.0, "0.01"), Tick(11.0, "1")]
    *_, axis, labels = framed(plot, ticks)
    assert axis == "└┴─────┴────┴"
    assert labels == "1e-5 0.01   1" or labels.split() == ["1e-5", "0.01", "1"]
    assert {len(line) for line in framed(plot, ticks)} == {13}
