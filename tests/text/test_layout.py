"""Tables in lines of a given width."""

import re

import pytest

from tune_qat.text.layout import GAP, TEXT, Column, lay_out, shortened

NUMBERS = ("26.8843", "-0.0334", "1.5e-05")


def column(name: str, *cells: str, numbers: bool = False) -> Column:
    return Column(name, cells, numbers=numbers)


TABLE = [
    column("optimizer", "adam", "sgd_agc", "lion"),
    *(column(f"score_of_{name}", *NUMBERS, numbers=True) for name in "abcdefgh"),
    column("note", "x" * 90, "short", "the last number is 0.0123456 of 17"),
]


def lines(width: int | None) -> list[str]:
    layout = lay_out(TABLE, width)
    return [*layout.head, *layout.rows]


@pytest.mark.parametrize("width", range(38, 220))
def test_it_fits_any_width_and_breaks_no_number(width: int) -> None:
    layout = lay_out(TABLE, width)
    assert max(map(len, lines(width))) <= width
    shown = 8 - sum(name.startswith("score") for name in layout.left_out)
    for number, row in zip(NUMBERS, layout.rows, strict=True):
        assert row.split().count(number) == shown
    # The optimizer and the note stay longest; who reads this is told of all others.
    assert not {"optimizer", "note"} & {*layout.left_out}
    assert (" … " in layout.rows[1]) == bool(layout.left_out)


def test_columns_are_left_out_from_the_middle() -> None:
    assert lay_out(TABLE, 60).left_out == tuple(f"score_of_{name}" for name in "bcdefg")
    assert lay_out(TABLE, 78).left_out == tuple(f"score_of_{name}" for name in "cdef")
    assert lay_out(TABLE, 20).left_out == tuple(one.name for one in TABLE[1:])


def test_without_a_width_everything_is_in_one_line() -> None:
    layout = lay_out(TABLE, None)
    assert layout.head[0].split() == [one.name for one in TABLE]
    assert "x" * 90 in layout.rows[0] and not layout.cut and not layout.left_out


def test_names_go_over_several_lines_before_anything_is_cut() -> None:
    table = [column("learning_rate", "0.1", numbers=True), column("95 % interval", "1 .. 2")]
    layout = lay_out(table, 20)
    assert layout.head[:2] == (" learning_  95 %", "      rate  interval")
    assert not layout.cut


def test_a_text_is_cut_before_a_column_is_left_out() -> None:
    layout = lay_out([column("a", "x" * 80), column("b", "y" * 30), column("c", "7", numbers=True)], 80)
    assert layout.cut and not layout.left_out
    assert layout.rows == (f"{'x' * 42}…  {'y' * 30}    7",) or len(layout.rows[0]) == 80
    narrow = lay_out([column("a", "x" * 80), column("b", "y" * 30), column("c", "7", numbers=True)], 2 * TEXT + 3 + GAP)
    assert len(narrow.rows[0]) == 2 * TEXT + 3 + GAP and narrow.rows[0].count("…") == 2


def test_wide_characters_take_two_cells() -> None:
    first, second = lay_out([column("a", "日本", "ab"), column("n", "1", "2", numbers=True)], None).rows
    assert first == "日本  1" and second == "ab    2"


@pytest.mark.parametrize(
    ("text", "width", "cut"),
    [
        ("optimizer", 9, "optimizer"),
        ("optimizer", 5, "opti…"),
        ("rate 0.001234", 10, "rate …"),
        ('{"lr": 1.5e-05, "x": 2}', 12, '{"lr": …'),
        ("3cab4e975537c5cb", 8, "3cab4e9…"),
    ],
)
def test_a_number_at_the_end_of_a_cut_text_goes_with_the_rest(text: str, width: int, cut: str) -> None:
    assert shortened(text, width) == cut
    assert not re.search(r"\W\d+…", cut)
