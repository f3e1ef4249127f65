"""A real study on a real Ray session, and its replay from the record: the same proposals, decisions and outcomes."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray

from tests.helpers.shared_cluster import SharedCluster
from tests.simulate.small import small
from tune_qat.results.reader import read_rows
from tune_qat.simulate import summary
from tune_qat.simulate.load import Loaded, load
from tune_qat.simulate.loop import Simulation, simulate
from tune_qat.study import Study
from tune_qat.tuning.run import run

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.xdist_group("agreement")]


def study_of(**changes: Any) -> Study:
    """Two arms, rungs at 1 and 2 of 4 epochs."""
    values: dict[str, Any] = {
        "quantization": {"bits": [[4, 4]]},
        "training": {"epochs": 4},
        "stages": {"default": True, "random": 1, "search": 8, "retrain": 1},
    }
    return small(**{**values, **changes})


@pytest.fixture(scope="module")
def record(shared_cluster: SharedCluster, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One trial at a time, so that the order in which a sampler learns is the record's."""
    results = tmp_path_factory.mktemp("agreement") / "results"
    assert run(study_of(), results=results, max_concurrent=1, backend="eager").complete
    shared_cluster.end()  # a replay needs none
    return results


@pytest.fixture
def loaded(record: Path) -> Loaded:
    return load(record, study_of())


@pytest.fixture
def replayed(loaded: Loaded) -> Simulation:
    assert not ray.is_initialized()
    return simulate(study_of(), loaded.curves, workers=1, ahead=False)


def decisions_of(done: Simulation) -> dict[tuple[str, int], tuple[Any, ...]]:
    return {
        key: (one.arm_id, one.epoch, one.value, one.cutoff, one.n_in_rung, one.action)
        for key, one in done.memory.decisions.items()
    }


def recorded_decisions(record: Path) -> dict[tuple[str, int], tuple[Any, ...]]:
    return {
        (row["trial_key"], row["rung"]): tuple(
            row[name] for name in ("arm_id", "epoch", "value", "cutoff", "n_in_rung", "action")
        )
        for row in read_rows(record, "decisions")
    }


def test_every_proposal_is_that_of_the_study_in_its_order(record: Path, replayed: Simulation) -> None:
    """A sampler's proposal hangs on all results before it: one that differed would change all that follow."""
    rows = sorted(read_rows(record, "trials"), key=lambda row: row["started_at"])
    assert [run.plan.trial_key for run in replayed.runs] == [row["trial_key"] for row in rows]
    assert [run.plan.stage for run in replayed.runs].count("search") == 16


def test_every_trial_ends_as_it_did(record: Path, replayed: Simulation) -> None:
    names = ("status", "stop_reason", "val_metric", "epochs_run")
    rows = {row["trial_key"]: {name: row[name] for name in names} for row in read_rows(record, "trials")}
    assert {key: {name: row[name] for name in names} for key, row in replayed.memory.outcomes.items()} == rows
    assert len({row["status"] for row in rows.values()}) > 1, "some are stopped and some are not"
    (start,) = (row for row in read_rows(record, "trials") if row["stage"] == "pretrain")
    assert replayed.memory.outcomes[start["trial_key"]]["checkpoint_sha256"] == start["checkpoint_sha256"]


def test_every_decision_is_taken_on_the_same_values(record: Path, replayed: Simulation) -> None:
    assert decisions_of(replayed) == recorded_decisions(record)
    assert {decision[-1] for decision in decisions_of(replayed).values()} == {"stop", "continue"}


def test_nothing_of_the_replay_is_guessed_and_nothing_is_left_to_regret(replayed: Simulation) -> None:
    assert summary.sources(replayed) == {"recorded": 1.0, "extrapolated": 0.0}
    assert [row["regret"] for row in summary.arms(replayed)] == [0.0, 0.0]


def test_the_clock_has_the_device_seconds_of_the_record(record: Path, replayed: Simulation) -> None:
    # Sums of differences, for sums.
    assert replayed.now == pytest.approx(sum(row["device_s"] for row in read_rows(record, "trials")), rel=1e-9)


def test_the_record_says_how_many_ran_at_once(loaded: Loaded) -> None:
    assert loaded.workers == 1


@pytest.mark.parametrize(
    "changes", [{"asha": {"grace_epochs": 1, "reduction_factor": 3}}, {"search": {"startup_trials": 6}}, {"seed": 1}]
)
def test_another_study_is_replayed_otherwise(record: Path, loaded: Loaded, changes: dict[str, Any]) -> None:
    """The agreement is the study's own doing: the curves alone do not bring it about."""
    study = study_of(**changes)
    other = simulate(study, load(record, study).curves, workers=1, ahead=False)
    assert decisions_of(other) != recorded_decisions(record)
    assert set(summary.sources(other)) >= {"recorded", "neighbour"} or "asha" in changes


def test_one_value_changed_is_noticed(record: Path, loaded: Loaded) -> None:
    """A curve of the search that ends otherwise changes what comes after it."""
    curves = loaded.curves
    first = next(row["trial_key"] for row in read_rows(record, "decisions") if row["n_in_rung"] == 0)
    for group in curves.groups.values():
        if first in group._by_key:
            trial = group._by_key[first]
            group._by_key[first] = replace(trial, metrics=tuple(0.01 for _ in trial.metrics))
    other = simulate(study_of(), curves, workers=1, ahead=False)
    assert decisions_of(other) != recorded_decisions(record)
