"""Real studies of a few trials each: stopped in the middle, refused before they begin, joint, and compiled."""

import json
import signal
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

import analysis
from tests.helpers.runs import assert_whole
from tests.helpers.studies import tiny_study
from tests.helpers.without_ray import run_here
from tune_qat.config import StudyHalted, TrialConfig, TuneQatError, UsageError
from tune_qat.results.reader import last_epochs, read_rows
from tune_qat.training.alone import train
from tune_qat.tuning.budget import Budget
from tune_qat.tuning.run import run

pytestmark = [pytest.mark.ray, pytest.mark.usefixtures("shared_cluster")]


@pytest.mark.slow
def test_a_start_that_is_lost_while_the_study_runs_stops_it_and_the_next_run_makes_it_again(tmp_path: Path) -> None:
    @contextmanager
    def saboteur(searcher: Any, resources: Any) -> Iterator[None]:
        def listen(event: str, plan: Any, values: Any) -> None:
            if event == "ended" and plan.stage == "pretrain":
                next(tmp_path.glob(f"checkpoints/**/{plan.trial_key}/last.pt")).unlink()

        searcher.listen(listen)
        yield

    study = tiny_study(quantization={"bits": [[4, 4]]}, stages={"default": True, "search": 0, "retrain": 1})
    with pytest.raises(StudyHalted, match=r"does not exist\. Every trial of the study begins from it\. Run the same"):
        run(study, results=tmp_path, display=saboteur)
    statuses = Counter(row["status"] for row in read_rows(tmp_path, "trials"))
    assert statuses["completed"] == 1 and statuses["interrupted"] == statuses.total() - 1 >= 1
    run_here(study, tmp_path)
    assert_whole(tmp_path, {"pretrain": 1, "default": 2, "retrain": 2})


@pytest.mark.slow
@pytest.mark.parametrize("wanted", [{"cpus_per_trial": 512.0}, {"gpus_per_trial": 64.0}])
def test_more_than_the_cluster_has_is_refused_before_anything_is_written(
    tmp_path: Path, wanted: dict[str, float]
) -> None:
    with pytest.raises(UsageError, match="more than any node"):
        run(tiny_study(), results=tmp_path / "results", **wanted)  # type: ignore[arg-type]
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_ctrl_c_stops_with_everything_recorded_and_the_study_goes_on_later(tmp_path: Path) -> None:
    @contextmanager
    def typist(searcher: Any, resources: Any) -> Iterator[None]:
        def listen(event: str, plan: Any, values: Any) -> None:
            if event == "epoch" and plan.stage == "default":
                signal.raise_signal(signal.SIGINT)

        searcher.listen(listen)
        yield

    study = tiny_study(quantization={"bits": [[4, 4]]}, stages={"default": True, "search": 1, "retrain": 1})
    first = run(study, results=tmp_path, display=typist, max_concurrent=1)
    assert (first.complete, first.stopped_by) == (False, "user")
    statuses = Counter(row["status"] for row in read_rows(tmp_path, "trials"))
    assert statuses["running"] == 0 and statuses["interrupted"] >= 1
    run_here(study, tmp_path)
    assert_whole(tmp_path, {"pretrain": 1, "default": 2, "search": 2, "retrain": 2})


@pytest.mark.slow
def test_joint_mode_runs_to_its_end(tmp_path: Path) -> None:
    study = tiny_study(
        mode="joint", quantization={"bits": [[4, 4]]}, stages={"default": True, "search": 3, "retrain": 2}
    )
    run_here(study, tmp_path)
    assert_whole(tmp_path, {"pretrain": 1, "default": 2, "search": 3, "retrain": 2})
    board = analysis.frame(tmp_path, "leaderboard")
    assert len(board) == 1 and board["mode"].tolist() == ["joint"]


def test_results_that_are_no_folder_are_refused_before_ray_starts(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for results in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(TuneQatError, match="is not a folder"):
            run(tiny_study(), results=results)


def test_a_start_that_does_not_fit_is_refused_before_ray_starts(tmp_path: Path) -> None:
    path = tmp_path / "other.pt"
    torch.save({"conv1.weight": torch.zeros(1)}, path)
    study = tiny_study(training={"epochs": 3, "init": "path", "init_path": str(path)}, pretrain=None)
    with pytest.raises(TuneQatError, match=r"other\.pt does not fit model 'lenet5'"):
        run(study, results=tmp_path / "results")
    assert not (tmp_path / "results").exists()


@pytest.mark.slow
def test_a_compiled_study_gives_the_curves_of_compiled_trials_alone(tmp_path: Path) -> None:
    results, said = tmp_path / "results", list[str]()
    study = tiny_study(
        quantization={"bits": [[4, 4]]},
        training={"epochs": 3, "init": "scratch"},
        pretrain=None,
        space={"optimizers": ["adam"], "batch_size": {"low": 32, "high": 32}},
        stages={"default": True, "search": 0, "retrain": 1},
    )
    run(study, results=results, backend="inductor", say=said.append, max_concurrent=1)
    assert said == ["training steps are compiled by Inductor: as asked for"]
    rows = read_rows(results, "trials")
    assert {row["backend"] for row in rows} == {"inductor"}
    assert all(0 < row["start_memory_mb"] <= row["peak_memory_mb"] for row in rows)
    last = next(row for row in rows if row["stage"] == "retrain")
    alone = list(train(TrialConfig.from_dict(json.loads(last["params_json"])), backend="inductor"))
    inside = last_epochs(results, study.name, last["trial_key"])
    assert [epoch.train_loss for epoch in alone] == [row["train_loss"] for row in inside]
    assert [epoch.val_loss for epoch in alone] == [row["val_loss"] for row in inside]
    # Running it again keeps the backend of the record; which trials then run is not asked here.
    more = study.model_copy(update={"stages": study.stages.model_copy(update={"retrain": 2})})
    run(more, results=results, say=said.append, max_concurrent=1, budget=Budget(trials=0))
    assert said[1:] == ["2 recorded, 1 new", "training steps are compiled by Inductor: as the recorded trials"]
