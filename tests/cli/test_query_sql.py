"""SQL as `tune-qat query` takes it: of the command line with its comments, and of a file."""

import json
import os
from pathlib import Path

import pytest

import analysis
from analysis.stats import verdicts
from tests.helpers.records import whole_study
from tests.importing.sweeps import typed
from tune_qat.config import TuneQatError, UsageError
from tune_qat.results.compaction import compact


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    whole_study(folder)
    compact(folder)  # a hundred files take DuckDB longer than a question does
    return folder


@pytest.mark.parametrize("form", ["table", "csv", "json"])
def test_a_bundled_question_is_asked_by_its_text_too(results: Path, form: str) -> None:
    text = analysis.query_text("leaderboard")
    assert text.startswith("-- Which optimizer")
    named = typed("query", results, "leaderboard", "--format", form)
    assert named.exit_code == 0 and named.output
    for words in (("query", results, text), ("query", results, text.rstrip()), ("query", "--", results, text)):
        found = typed(*words) if "--" in words else typed(*words, "--format", form)
        assert found.exit_code == 0, found.output
        assert found.output == named.output or "--" in words


@pytest.mark.parametrize("sql", ["-- one\nSELECT 1 AS one", "--one\nSELECT 1 AS one", "--\nSELECT 1 AS one"])
def test_a_query_may_begin_with_a_comment(results: Path, sql: str) -> None:
    for words in (("query", results, sql, "--format", "csv"), ("query", "--format", "csv", results, sql)):
        assert typed(*words).output == "one\n1\n"


def test_an_option_that_there_is_not_is_still_one(results: Path) -> None:
    for option in ("--fromat=csv", "--fromat", "--format-"):
        done = typed("query", results, "leaderboard", option)
        assert done.exit_code == 2 and "No such option" in done.output


def test_a_file_is_asked(results: Path, tmp_path: Path) -> None:
    path = tmp_path / "my.sql"
    path.write_text("\ufeff-- What is one?\nSELECT 1 AS one;\n", encoding="utf-8")
    assert typed("query", results, path, "--format", "csv").output == "one\n1\n"
    assert analysis.frame(results, str(path)).to_dict("list") == {"one": [1]}
    spaced = path.rename(tmp_path / "my own.sql")
    assert typed("query", results, spaced, "--format", "csv").output == "one\n1\n"


def test_a_file_that_is_none_is_named(results: Path, tmp_path: Path) -> None:
    (tmp_path / "no.sql").write_bytes(b"SELECT '\xff'")
    (tmp_path / "folder.sql").mkdir()
    os.mkfifo(tmp_path / "pipe.sql")
    for name, said in {
        "none.sql": "none.sql cannot be read: No such file or directory",
        "no.sql": "no.sql is not a text file in UTF-8: invalid start byte at byte 8",
        "folder.sql": "folder.sql is no regular file",
        "pipe.sql": "pipe.sql is no regular file",
    }.items():
        done = typed("query", results, tmp_path / name)
        assert isinstance(done.exception, TuneQatError) and said in str(done.exception)


ODD_TYPES = {
    "INTERVAL 36 HOUR": "36:00:00",
    "INTERVAL 1 MONTH": "1 month",
    "MAP {'a': 1, 'b': 2}": '{"a":1,"b":2}',
    "MAP {1: [0.5]}": '{"1":[0.5]}',
    "[INTERVAL 1 DAY]": '["1 day"]',
    "{'m': MAP {'a': 1}}": '{"m":{"a":1}}',
    "union_value(a := 1)": '{"a":1}',
    "'101'::BIT": "101",
    r"'\xAA'::BLOB": r"\xAA",
    "12345678901234567890123456789012345678901234567890::BIGNUM": "12345678901234567890123456789012345678901234567890",
    "'12:00:00.123456789'::TIME_NS": "12:00:00.123456789",
}
"""Values that pandas, JSON, Parquet or polars do not have, as text."""


def test_types_that_not_every_format_has_are_text(results: Path, tmp_path: Path) -> None:
    import polars
    import pyarrow.parquet as pq

    odd = {f"b{i}": text for i, text in enumerate(ODD_TYPES.values())}
    columns = ", ".join(f"{value} AS {name}" for name, value in zip(odd, ODD_TYPES, strict=True))
    sql = f"SELECT 'x' AS a, {columns}, 3 AS c; -- and no more"
    expected = {"a": ["x"], **{name: [text] for name, text in odd.items()}, "c": [3]}
    assert analysis.frame(results, sql).to_dict("list") == expected
    assert analysis.polars(results, sql).to_dict(as_series=False) == expected
    for form in ("csv", "json", "parquet", "table"):
        done = typed("query", results, sql, "--format", form, "-o", tmp_path / form)
        assert done.exit_code == 0, done.exception
    assert pq.read_table(tmp_path / "parquet").to_pydict() == expected
    texts = {**expected, "c": ["3"]}
    assert polars.read_csv(tmp_path / "csv", infer_schema=False).to_dict(as_series=False) == texts
    assert polars.read_json(tmp_path / "json").to_dict(as_series=False) == expected
    table = (tmp_path / "table").read_text()
    assert [text for text in odd.values() if text not in table] == []


def test_columns_of_one_name_stay_two(results: Path) -> None:
    found = analysis.arrow(results, "SELECT INTERVAL 1 DAY AS a, MAP {'x': 1} AS a, NULL::INTERVAL AS n")
    assert found.column_names == ["a", "a", "n"]
    assert [column.to_pylist() for column in found.columns] == [["1 day"], ['{"x":1}'], [None]]


@pytest.mark.parametrize("value", ["DATE '290000-01-01'", "'infinity'::DATE"])
def test_a_day_that_python_has_not_says_what_to_ask(results: Path, value: str) -> None:
    with pytest.raises(UsageError, match=r"year \d+ is out of range.*CAST\(x AS VARCHAR\)"):
        analysis.frame(results, f"SELECT {value} AS x")


@pytest.mark.parametrize(
    ("question", "columns"), [("verdicts", ["speaks_of", "sentence", "needed"]), ("badges", ["state"])]
)
def test_what_is_told_in_words_is_asked_as_any_question(results: Path, question: str, columns: list[str]) -> None:
    found = json.loads(typed("query", results, question, "--format", "json").output)
    assert found and {"study_id", *columns} <= set(found[0])
    if question == "verdicts":
        assert found[0]["speaks_of"] == "configurations" and "To speak of optimizers" in found[0]["needed"]
        assert [row["sentence"] for row in found] == [one.sentence for one in verdicts(results)]
    assert question in typed("query", "--list").output
