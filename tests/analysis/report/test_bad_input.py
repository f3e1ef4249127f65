"""Results that cannot be read, and questions that cannot be asked: one message for `query` and for `report`."""

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from tests.analysis.report.synthetic_study import SyntheticStudy
from tests.importing.sweeps import typed
from tune_qat.config import TuneQatError, UsageError
from tune_qat.results.schema import VERSION_KEY


def small(results: Path, name: str = "made_up") -> Path:
    SyntheticStudy(results, name, random=1, search=1, seeds=1, optimizers=("adam",), bits=(4,))
    return results / "trials" / f"study_id={name}" / "all.parquet"


def empty(results: Path) -> None:
    results.mkdir()


def no_parquet(results: Path) -> None:
    small(results).write_text("cats and dogs")


def cut_off(results: Path) -> None:
    path = small(results)
    path.write_bytes(path.read_bytes()[:-50])


def damaged(results: Path) -> None:
    path = small(results)
    data = bytearray(path.read_bytes())
    data[60:90] = b"\xff" * 30
    path.write_bytes(data)


def mixed_versions(results: Path) -> None:
    small(results, "first")
    path = small(results, "second")
    table = pq.read_table(path, partitioning=None)
    pq.write_table(table.replace_schema_metadata({VERSION_KEY: b"2"}), path)


RESULTS: dict[str, tuple[Callable[[Path], None], str]] = {
    "absent": (lambda results: None, "does not exist"),
    "empty": (empty, "holds no record of a study"),
    "no parquet": (no_parquet, "all.parquet cannot be read as Parquet"),
    "cut off": (cut_off, "all.parquet cannot be read as Parquet"),
    "damaged": (damaged, "all.parquet cannot be read as Parquet"),
    "mixed versions": (mixed_versions, "was written with schema version 2, but this program reads version 1"),
}


@pytest.mark.parametrize("command", ["query", "report"])
@pytest.mark.parametrize("kind", RESULTS)
def test_results_that_cannot_be_read_are_named(tmp_path: Path, kind: str, command: str) -> None:
    make, message = RESULTS[kind]
    results, page = tmp_path / "results", tmp_path / "page.html"
    make(results)
    done = typed(command, results, *(("leaderboard",) if command == "query" else ("-o", page)))
    assert isinstance(done.exception, TuneQatError), done.exception
    assert message in str(done.exception) and str(results) in str(done.exception)
    assert not page.exists()


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("SELEC * FROM trials", "syntax error"),
        ("SELECT cats FROM trials", "cats"),
        ("SELECT * FROM cats", "cats"),
        ("SELECT 1; SELECT 2", "one SQL statement, but got 2"),
        ("DROP VIEW trials", "only reads"),
        ("laederboard", "Did you mean 'leaderboard'?"),
        (" ", "one SQL statement, but got 0"),
    ],
)
def test_questions_that_cannot_be_asked(tmp_path: Path, query: str, message: str) -> None:
    small(tmp_path / "results")
    done = typed("query", tmp_path / "results", query)
    assert isinstance(done.exception, UsageError), done.exception
    assert message.lower() in str(done.exception).lower()
