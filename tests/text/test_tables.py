"""Data frames as text and files."""

import csv
import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from tests.helpers.pseudo_terminal import pseudo_terminal
from tune_qat.config import TuneQatError, UsageError
from tune_qat.text.formats import FORMATS, check_format, write_frame
from tune_qat.text.tables import MOST_ROWS, cell, columns_of, table_text

FRAME = pd.DataFrame({"optimizer": ["adam", None], "rate": [1e-5, math.nan], "n": [3, 12]})


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (math.nan, "-"),
        (np.float32("nan"), "-"),
        (pd.NaT, "-"),
        (pd.NA, "-"),
        (0.0, "0"),
        (1.0, "1"),
        (100.0, "100"),
        (28.12345, "28.1234"),
        (-28.5, "-28.5"),
        (0.98765, "0.9877"),
        (0.0012345, "0.001234"),
        (1e-5, "1e-05"),
        (1.5e7, "1.5e+07"),
        (math.inf, "inf"),
        (np.float32(0.1), "0.1"),
        (7, "7"),
        (np.int64(1234567), "1234567"),
        (True, "True"),
        ("2026", "2026"),
        ([1, 2], "[1, 2]"),
        (np.array([1, 2]), "[1 2]"),
        ({"a": 1}, "{'a': 1}"),
    ],
)
def test_a_cell_shows_its_value(value: Any, text: str) -> None:
    assert cell(value) == text


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([26.8843, 26.9, math.nan], ["26.8843", "26.9000", "-"]),
        ([0.5, 0.25, 0.0], ["0.50", "0.25", "0.00"]),
        ([3.0, 12.0, math.nan], ["3", "12", "-"]),
        ([0.7194, -0.03344, 0.1159], ["0.7194", "-0.0334", "0.1159"]),
        ([0.1886, 5.397e-5], ["0.1886", "5.397e-05"]),  # no digits in common
        ([1.5e-8, 2e-8], ["1.5e-08", "2e-08"]),
        ([0.0, 0.0], ["0", "0"]),
        ([math.inf, 1.0], ["inf", "1"]),
    ],
)
def test_numbers_of_one_size_have_the_same_decimals(values: list[float], texts: list[str]) -> None:
    (column,) = columns_of(pd.DataFrame({"value": values}))
    assert list(column.cells) == texts


class TestTable:
    def test_rows_are_lines_and_numbers_stand_right(self) -> None:
        header, _, first, second, *_ = table_text(FRAME).splitlines()
        assert header.split() == ["optimizer", "rate", "n"]
        assert first.split() == ["adam", "1e-05", "3"]
        assert second.split() == ["-", "-", "12"]
        assert first.rindex("3") == second.rindex("2") == header.rindex("n")

    @pytest.mark.parametrize(("rows", "text"), [(0, "0 rows"), (1, "1 row"), (2, "2 rows")])
    def test_the_last_line_counts_them(self, rows: int, text: str) -> None:
        assert table_text(FRAME[:rows]).splitlines()[-1] == text
        assert text not in table_text(FRAME[:rows], count=False)

    def test_many_rows_are_cut_and_it_says_what_has_them_all(self) -> None:
        many = pd.DataFrame({"number": range(MOST_ROWS + 1)})
        lines = table_text(many).splitlines()
        assert lines[-1] == "501 rows, the first 500 of them here: --format csv, json or parquet has all"
        assert [line.strip() for line in lines if line.strip().isdigit()] == [str(number) for number in range(500)]
        assert table_text(many[:-1]).splitlines()[-1] == "500 rows"

    def test_two_columns_of_one_name_are_both_shown(self) -> None:
        frame = pd.DataFrame([[1, "x"]], columns=["a", "a"])
        assert table_text(frame).split()[:2] == ["a", "a"]

    def test_text_is_no_markup(self) -> None:
        shown = table_text(pd.DataFrame({"[bold]name": ["[red]value"]}))
        assert "[bold]name" in shown and "[red]value" in shown

    def test_on_a_terminal_it_says_what_has_no_room(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.delenv("COLUMNS", raising=False)
        many = pd.DataFrame({f"column_{number}": [number] for number in range(20)})
        with pseudo_terminal(60):
            lines = table_text(many, count=False).splitlines()
        assert max(map(len, lines[:-1])) <= 60
        assert lines[-1].startswith("A wider terminal also shows: column_3, column_4, ")

    def test_long_lines_are_not_folded_where_there_is_no_terminal(self) -> None:
        text = "x" * 300
        assert text in table_text(pd.DataFrame({"a": [text]}))


class TestFormats:
    def test_csv(self, capsys: pytest.CaptureFixture[str]) -> None:
        write_frame(FRAME, "csv", None)
        rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
        assert rows == [{"optimizer": "adam", "rate": "1e-05", "n": "3"}, {"optimizer": "", "rate": "", "n": "12"}]

    def test_json(self, capsys: pytest.CaptureFixture[str]) -> None:
        write_frame(FRAME, "json", None)
        rows = json.loads(capsys.readouterr().out)
        assert rows == [{"optimizer": "adam", "rate": 1e-5, "n": 3}, {"optimizer": None, "rate": None, "n": 12}]

    def test_parquet(self, tmp_path: Path) -> None:
        write_frame(FRAME, "parquet", tmp_path / "answer.parquet")
        rows = pq.read_table(tmp_path / "answer.parquet").to_pylist()
        assert [row["optimizer"] for row in rows] == ["adam", None]
        assert rows[1]["n"] == 12

    @pytest.mark.parametrize("form", ["table", "csv", "json"])
    def test_a_file_holds_what_the_screen_would(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str], form: str
    ) -> None:
        write_frame(FRAME, form, tmp_path / "answer")
        assert capsys.readouterr().out == ""
        write_frame(FRAME, form, None)
        assert (tmp_path / "answer").read_text(encoding="utf-8") == capsys.readouterr().out

    @pytest.mark.parametrize("form", FORMATS)
    def test_a_file_that_cannot_be_written_is_named(self, tmp_path: Path, form: str) -> None:
        for path in (tmp_path, tmp_path / "no" / "answer"):
            with pytest.raises(TuneQatError, match=f"{path} cannot be written: ") as raised:
                write_frame(FRAME, form, path)
            assert raised.value.exit_code == 1

    @pytest.mark.parametrize("form", ["json", "parquet"])
    def test_a_format_with_names_as_keys_cannot_hold_one_twice(self, tmp_path: Path, form: str) -> None:
        frame = pd.DataFrame([[1, 2]], columns=["a", "a"])
        with pytest.raises(UsageError, match=f"Two columns are called 'a', which {form} cannot hold"):
            write_frame(frame, form, tmp_path / "answer")
        assert not (tmp_path / "answer").exists()

    def test_csv_holds_one_name_twice(self, capsys: pytest.CaptureFixture[str]) -> None:
        write_frame(pd.DataFrame([[1, 2]], columns=["a", "a"]), "csv", None)
        assert capsys.readouterr().out == "a,a\n1,2\n"

    def test_a_wrong_format_is_found_before_there_is_an_answer(self) -> None:
        with pytest.raises(UsageError, match="--format must be one of table, csv, json, parquet, but got 'xml'"):
            check_format("xml", None)
        with pytest.raises(UsageError, match="--format parquet needs a file: -o FILE"):
            check_format("parquet", None)
        for form in FORMATS:
            check_format(form, Path("answer"))
