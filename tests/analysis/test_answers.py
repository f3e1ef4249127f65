import sys
from pathlib import Path

import duckdb
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import analysis
from analysis import Answers, answers, connection
from tests.helpers.records import SmallStudy, whole_study
from tests.helpers.rows import filled, write
from tests.helpers.storage import Bucket
from tune_qat.config import TuneQatError, UsageError
from tune_qat.results.compaction import compact
from tune_qat.storage.paths import StoragePath, storage_path


def small(results: StoragePath, name: str = "2026") -> None:
    study = SmallStudy(results, name)
    study.retrain(study.arm("adam"), 0.8, None, val_metric=0.7)


@pytest.fixture
def results(tmp_path: Path) -> Path:
    small(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("whole")
    whole_study(results)
    return results


@pytest.fixture(scope="module")
def asked(whole: Path) -> Answers:
    return Answers(whole)


def test_an_answer_is_that_of_frame(whole: Path, asked: Answers) -> None:
    for name in ("leaderboard", "budget", "start"):  # by the same way all of them; each opens the record anew
        pd.testing.assert_frame_equal(asked.frame(name), analysis.frame(whole, name))
    for name in analysis.queries():
        assert asked.sql(name) == analysis.query_text(name)


def test_a_question_is_asked_once_and_other_sql_is_too(results: Path) -> None:
    asked = Answers(results)
    assert asked.frame("leaderboard") is asked.frame("leaderboard")
    assert asked.frame("SELECT count(*) AS n FROM trials")["n"].tolist() == [2]
    with pytest.raises(UsageError, match="Did you mean 'leaderboard'"):
        asked.frame("leaderbord")
    with pytest.raises(UsageError, match="syntax error"):
        asked.frame("SELEC 1")


def test_trials_of_arms_are_the_same_rows_kept(results: Path) -> None:
    question = "FROM arm_trials ORDER BY trial_key"
    pd.testing.assert_frame_equal(Answers(results).frame(question), analysis.frame(results, question))


def test_paths_and_answers_are_taken_alike(results: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    small(other, "second")
    one = answers(results)
    assert answers(one) is one
    assert len(answers(str(results)).frame("leaderboard")) == 1
    both = answers([results, str(other)])
    assert both.frame("leaderboard")["study_id"].tolist() == ["2026", "second"]
    assert both.paths == [results, other]


def test_a_local_and_a_remote_record_together(results: Path, bucket: Bucket) -> None:
    remote = f"{bucket.uri}/answers"
    small(storage_path(remote), "remote")
    assert answers([results, remote]).frame("leaderboard")["study_id"].tolist() == ["2026", "remote"]


def test_no_results_and_no_record(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="at least one results folder"):
        Answers()
    with pytest.raises(TuneQatError, match="holds no record of a study"):
        answers(tmp_path)


def test_a_damaged_file_is_named(results: Path) -> None:
    path = write(results, "2026", "trials", "zz", filled("trials"))
    data = bytearray(path.read_bytes())
    data[4:400] = bytes(396)  # the head of the columns; the footer stays whole
    path.write_bytes(data)
    with pytest.raises(TuneQatError, match="zz.parquet cannot be read as Parquet"):
        Answers(results)


@pytest.mark.parametrize("times", [1, 2])
def test_a_record_that_is_compacted_between_two_questions_gives_the_same_answers(results: Path, times: int) -> None:
    """Once from the files of trials, once from a compacted one that is replaced by the next."""
    for _ in range(times - 1):
        compact(results)
    asked = Answers(results)
    question = "SELECT trial_key, status, test_metric FROM trials ORDER BY trial_key"
    before = analysis.frame(results, question)
    write(results, "2026", "trials", "new", filled("trials", trial_key="new", status="completed"))
    compact(results)
    assert (results / "trials" / "study_id=2026" / f"compact-{times}.parquet").exists()
    found = asked.frame(question)
    pd.testing.assert_frame_equal(found[found["trial_key"] != "new"].reset_index(drop=True), before)


def test_a_file_that_vanishes_under_a_question_is_no_error_and_another_is(results: Path) -> None:
    gone = 'No such file or directory: "a.parquet"'
    # The last is what DuckDB says of a file that is written anew while it reads it.
    errors: list[duckdb.Error] = [
        duckdb.IOException(gone),
        duckdb.IOException(gone),
        duckdb.Error("TProtocolException: Invalid data"),
    ]

    def ask() -> str:
        if errors:
            raise errors.pop()
        return "answer"

    assert connection.explained(ask, [results]) == "answer"
    errors = [duckdb.IOException("permission denied")]
    with pytest.raises(UsageError, match="permission denied"):
        connection.explained(ask, [results])


class TestFrames:
    def test_of_pandas_polars_and_pyarrow_hold_the_same(self, results: Path) -> None:
        frames = analysis.frame(results, "leaderboard")
        polars, arrow = analysis.polars(results, "leaderboard"), analysis.arrow(results, "leaderboard")
        assert isinstance(polars, pl.DataFrame) and isinstance(arrow, pa.Table)
        assert list(frames) == polars.columns == arrow.column_names
        assert frames["mean"].tolist() == polars["mean"].to_list() == arrow["mean"].to_pylist()
        assert frames["mean"].tolist() == [pytest.approx((0.8 + 0.4) / 2)]

    def test_polars_that_is_not_installed_is_said(self, results: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "polars", None)
        with pytest.raises(TuneQatError, match="pip install polars"):
            analysis.polars(results, "leaderboard")
