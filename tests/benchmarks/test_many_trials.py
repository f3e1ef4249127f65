"""The made-up record: a study recognises every trial of it, in small files as in large ones."""

from pathlib import Path

import pytest

from benchmarks.big_record import BigRecord, write_compact, write_small
from benchmarks.many_trials import ARMS, RANDOM, RETRAIN, STUDY
from tune_qat.results.compaction import compact
from tune_qat.results.reader import read_rows
from tune_qat.results.repair import repair
from tune_qat.results.views import connect
from tune_qat.study import Study
from tune_qat.tuning.objective import Objective
from tune_qat.tuning.queue import StudyQueue

pytestmark = pytest.mark.slow  # the record takes five seconds
SEARCH = 2
TABLES = ("trials", "epochs", "layers", "decisions")


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    path = tmp_path_factory.mktemp("study") / "many.toml"
    path.write_text(STUDY.format(random=RANDOM, search=SEARCH, retrain=RETRAIN))
    return Study.load(str(path))


@pytest.fixture(scope="module")
def compacted(study: Study, tmp_path_factory: pytest.TempPathFactory) -> tuple[BigRecord, Path]:
    folder = tmp_path_factory.mktemp("compacted")
    big = BigRecord(study, folder)
    assert write_compact(big) == ARMS * (1 + RANDOM + SEARCH + RETRAIN)
    big.close()
    return big, folder


def test_a_study_that_goes_on_finds_every_trial_done(compacted: tuple[BigRecord, Path]) -> None:
    big, folder = compacted
    assert repair(folder, "many") == []
    rows = read_rows(folder, "trials", "many")
    queue = StudyQueue(big.planner, rows, objective=Objective(1, 0.0))
    assert sum(len(state.done) for state in queue.arms.values()) == len(rows)
    assert queue.finished and queue.left() == 0
    more = Study.model_validate({**big.study.model_dump(), "stages": {**big.study.stages.model_dump(), "search": 3}})
    queue = StudyQueue(
        type(big.planner)(study=more, work=big.work), rows, objective=Objective(1, 0.0)
    )  # fmt: skip
    assert queue.left() == ARMS
    plan = queue.next()
    assert plan is not None and (plan.stage, plan.number) == ("search", SEARCH)


def test_small_files_hold_the_same_rows(compacted: tuple[BigRecord, Path], study: Study, tmp_path: Path) -> None:
    big = BigRecord(study, tmp_path)
    # Errors of weights are sums that may differ in their last bit, as the memory lies.
    big._quantizers = compacted[0]._quantizers
    assert write_small(big, 24) == 24 * 3 + SEARCH  # the first arm; only search trials have decisions
    big.close()
    whole, small = connect(compacted[1]), connect(tmp_path)
    arm = [row["trial_key"] for row in read_rows(tmp_path, "trials")]
    for table in TABLES:
        same = f"SELECT * FROM {table} WHERE list_contains($keys, trial_key) ORDER BY ALL"
        # Versions may differ in the commit alone, which is the same here.
        assert whole.execute(same, {"keys": arm}).fetchall() == small.execute(same, {"keys": arm}).fetchall()
    before = connect(tmp_path).sql("SELECT * FROM epochs ORDER BY ALL").fetchall()
    assert [(one.before, one.after) for one in compact(tmp_path)] == [(24 * 3 + SEARCH, 4)]
    assert connect(tmp_path).sql("SELECT * FROM epochs ORDER BY ALL").fetchall() == before
