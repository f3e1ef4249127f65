"""Answers as text: headings, sections, blocks and what is not shown."""

import pandas as pd
import pytest

from analysis.stats import boards
from tune_qat.text.answers import BOARD, answer_text

ROWS = pd.DataFrame(
    {
        "study_id": "s",
        "mode": "comparison",
        "workload": "w",
        "method": ["none"] * 3 + ["lsq"] * 3,
        "weight_bits": [32] * 3 + [4] * 3,
        "activation_bits": [32] * 3 + [4] * 3,
        "optimizer": ["adam", "lion", "sgd"] * 2,
        "mean": [0.98, 0.97, 0.96, 0.95, 0.9, 0.1],
        "margin": None,
    }
)


def test_boards_are_named_as_in_the_statistics() -> None:
    assert list(BOARD) == boards.BOARD


def test_what_is_constant_is_a_heading_and_boards_are_sections() -> None:
    assert answer_text(ROWS, 80).splitlines() == [
        "study_id=s  mode=comparison  workload=w  margin=NULL",
        "",
        "optimizer  mean",
        "─────────  ────",
        "method=none  weight_bits=32  activation_bits=32",
        "adam       0.98",
        "lion       0.97",
        "sgd        0.96",
        "",
        "method=lsq  weight_bits=4  activation_bits=4",
        "adam       0.95",
        "lion       0.90",
        "sgd        0.10",
        "",
        "6 rows",
    ]


def test_boards_that_are_mixed_or_small_are_columns() -> None:
    for rows in (ROWS.iloc[[0, 3, 1, 4, 2, 5]], ROWS.iloc[2:4]):
        assert "weight_bits" in answer_text(rows, 80).splitlines()[2]


def test_an_answer_that_is_all_constant_is_a_table() -> None:
    assert answer_text(pd.DataFrame({"a": [1, 1]}), 80).split() == ["a", "─", "1", "1", "2", "rows"]


def test_one_row_is_written_column_by_column_where_it_has_no_room() -> None:
    row = pd.DataFrame({"name": ["x"], "sentence": ["the words of it " * 5], "n": [3]})
    assert answer_text(row, None).splitlines()[0].split() == ["name", "sentence", "n"]
    lines = answer_text(row, 40).splitlines()
    assert lines[0] == "name      x" and lines[-3:] == ["n         3", "", "1 row"]
    assert all(len(line) <= 40 for line in lines) and lines[2].startswith(" " * 10)


def test_lists_are_no_constants_and_an_empty_answer_names_its_columns() -> None:
    lists = pd.DataFrame({"a": [[1], [1]], "b": [1, 2]})
    assert answer_text(lists, 80).splitlines()[0].split() == ["a", "b"]
    assert answer_text(ROWS[:0], 40).splitlines()[-1] == "0 rows"
    assert answer_text(ROWS[:0], 40).startswith("study_id, mode, workload, method,")


def test_what_is_left_out_is_said_with_what_shows_it() -> None:
    many = pd.DataFrame({f"column_{number}": [number, -number] for number in range(1, 21)})
    lines = answer_text(many, 60).splitlines()
    at = lines.index("2 rows")
    assert lines[at + 1] == "14 more columns: --wide, --columns, --format csv"
    named = " ".join(lines[at + 2 :]).replace(",", "").split()
    assert named == [f"column_{number}" for number in range(4, 18)]
    assert "more columns" not in answer_text(many, None)
    text = pd.DataFrame({"a": ["x" * 100, "y"]})
    assert answer_text(text, 60).splitlines()[-1] == "A text that ends in … goes on: --wide, --format csv"


@pytest.mark.parametrize("width", [60, 80, 120, None])
def test_texts_with_line_feeds_are_one_line(width: int | None) -> None:
    text = answer_text(pd.DataFrame({"error": ["one\ntwo\t\x1b[31m", "b"], "n": [1, 2]}), width)
    assert "one\\ntwo\\t\\x1b[31m" in text
