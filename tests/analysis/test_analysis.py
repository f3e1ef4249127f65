import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
from scipy import stats

import analysis
from analysis.answers import Answers
from tests.helpers.records import SmallStudy, whole_study
from tests.helpers.rows import filled, write
from tune_qat.config import TuneQatError, UsageError
from tune_qat.results.compaction import compact
from tune_qat.results.schema import TABLES

QUESTIONS = {"leaderboard", "learning_rate", "edge_of_range", "budget", "divergence"}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    study = SmallStudy(tmp_path, "2026")
    arm = study.arm("adam")
    key = study.trial(arm, "search", val_metric=0.7)
    study.last_epoch(key, [{"oscillation_frequency": 0.01}], val_metric=0.7, val_metric_pre_bn=0.6)
    study.retrain(arm, 0.8, 0.9, val_metric=0.7)
    return tmp_path


def test_questions_are_named_and_say_what_they_answer() -> None:
    assert set(analysis.queries()) >= QUESTIONS
    for name, question in analysis.queries().items():
        assert "?" in question and not question.startswith("-"), name
        assert analysis.query_text(name).startswith(f"-- {question}\n")


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("whole")
    whole_study(results)
    compact(results)  # a hundred files take DuckDB longer than a question does
    return results


@pytest.fixture(scope="module")
def without_trials(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("empty")
    write(results, "s", "studies", "study", filled("studies"))
    return results


@pytest.fixture(scope="module")
def opened(whole: Path, without_trials: Path) -> tuple[Answers, Answers]:
    """Opened once: that takes longer than most questions do."""
    return Answers(str(whole)), Answers(without_trials)


@pytest.mark.parametrize("name", sorted(analysis.queries()))
def test_every_question_is_answered_and_without_trials(opened: tuple[Answers, Answers], name: str) -> None:
    found, empty = (asked.frame(name) for asked in opened)
    # Nothing there is calibrated alone, or has costs: test_calibration.py, test_cost.py
    assert name in ("calibration", "cost", "front", "pareto") or "whole" in set(found["study_id"])
    assert list(empty) == list(found) and not len(empty)


def test_a_question_is_asked_by_its_text_too(whole: Path) -> None:
    found = analysis.frame(whole, "leaderboard")
    pd.testing.assert_frame_equal(found, analysis.frame([str(whole)], analysis.query_text("leaderboard")))


def test_numbers_are_numbers_of_pandas(results: Path) -> None:
    found = analysis.frame(results, "SELECT count(*) AS n, sum(batch_size) AS s, avg(test_metric) AS m FROM trials")
    assert {name: kind.kind for name, kind in found.dtypes.items()} == {"n": "i", "s": "f", "m": "f"}
    assert found.values.tolist() == [[3, 96, pytest.approx(0.85)]]


def test_views_of_the_connection(results: Path) -> None:
    with analysis.open(results) as connection:
        for view in (*TABLES, "reference", "arm_trials", "student_t"):
            connection.execute(f"SELECT * FROM {view} LIMIT 1")
        names = [row[0] for row in connection.execute("DESCRIBE arm_trials").fetchall()]
        assert len(set(names)) == len(names) and "val_metric" in names and "trivial_score" in names


def test_quantiles_of_students_t(results: Path) -> None:
    found = analysis.frame(results, "SELECT df, t FROM student_t ORDER BY df")
    assert found["df"].tolist() == list(range(1, 1001))
    # two implementations of the same quantile, each good to about 1e-13
    assert found["t"].tolist() == pytest.approx(stats.t.ppf(0.975, found["df"]).tolist(), rel=1e-11)


def test_unknown_name_is_answered_with_the_known_ones(results: Path) -> None:
    with pytest.raises(UsageError, match="No question 'leaderbord'. Did you mean 'leaderboard'?.*edge_of_range"):
        analysis.frame(results, "leaderbord")
    with pytest.raises(UsageError, match="No question 'xyzzy'. Known: "):
        analysis.query_text("xyzzy")


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ("SELECT nope FROM trials", "nope"),
        ("SELEC 1", "syntax error"),
        ("SELECT * FROM nowhere", "nowhere"),
        ("SELECT CAST(stage AS INTEGER) FROM trials", "Could not convert"),
    ],
)
def test_error_in_sql_is_duckdbs_message(results: Path, query: str, words: str) -> None:
    with pytest.raises(UsageError, match=f"DuckDB cannot answer this query. (?s:.*){words}") as caught:
        analysis.frame(results, query)
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    "query",
    [
        "COPY trials TO '{file}'",
        "EXPLAIN ANALYZE COPY trials TO '{file}'",
        "EXPORT DATABASE '{file}'",
        "ATTACH '{file}' AS other",
        "SELECT 1; COPY trials TO '{file}'",
        "CREATE TABLE t AS SELECT 1",
        "",
        "  ",
        "-- nothing asked",
    ],
)
def test_query_that_does_more_or_less_than_read_is_refused(results: Path, query: str) -> None:
    with pytest.raises(UsageError, match="A query "):
        analysis.frame(results, query.format(file=results / "out"))
    assert not (results / "out").exists()


@pytest.mark.parametrize(
    "query",
    ["FROM trials", "WITH t AS (FROM trials) FROM t;", "DESCRIBE trials", "SUMMARIZE arms", "PIVOT trials ON stage"],
)
def test_every_way_to_read_is_allowed(results: Path, query: str) -> None:
    assert len(analysis.frame(results, query))


def test_studies_side_by_side_in_two_folders(results: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    other = tmp_path_factory.mktemp("other")
    study = SmallStudy(other, "second")
    study.retrain(study.arm("adam"), 0.5, 0.6)
    found = analysis.frame([results, other], "leaderboard")
    assert found["study_id"].tolist() == ["2026", "second"]


def test_folder_without_a_record(tmp_path: Path) -> None:
    with pytest.raises(TuneQatError, match="holds no record of a study"):
        analysis.open(tmp_path)
    with pytest.raises(UsageError, match="at least one results folder"):
        analysis.open()


def test_damaged_file_is_named_before_the_query_is_blamed(results: Path) -> None:
    path = write(results, "2026", "trials", "zz", filled("trials"))
    data = bytearray(path.read_bytes())
    data[4:400] = bytes(396)  # the head of the columns; the footer stays whole
    path.write_bytes(data)
    with pytest.raises(TuneQatError, match="zz.parquet cannot be read as Parquet") as caught:
        analysis.frame(results, "SELECT * FROM trials")
    assert caught.value.exit_code == 1


def test_neither_torch_nor_ray_is_imported(results: Path) -> None:
    code = (
        "import sys, analysis\n"
        f"analysis.frame({str(results)!r}, 'leaderboard')\n"
        "found = {'torch', 'ray', 'optuna'} & set(sys.modules)\n"
        "sys.exit(f'imported: {found}' if found else 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(analysis.__file__).parents[1])
