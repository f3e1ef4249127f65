"""What a study makes of trials that really break: real processes, real signals, real want of memory."""

import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.cli.typed import tune_qat as tune_qat  # the fixture
from tests.helpers.runs import assert_whole, study_file
from tests.helpers.shared_cluster import SharedCluster
from tests.helpers.studies import tiny_study
from tests.tuning import sabotage
from tests.tuning.sabotage import VICTIM, broken, two_arms
from tune_qat.results.reader import last_epochs, read_rows
from tune_qat.tuning.run import run

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.usefixtures("shared_cluster")]


def by_optimizer(results: Path) -> dict[str, dict[str, Any]]:
    return {row["optimizer"]: row for row in read_rows(results, "trials")}


def test_a_diverged_search_trial_is_a_result_with_a_finite_worst_value(tmp_path: Path) -> None:
    held: list[Any] = []

    @contextmanager
    def keep(searcher: Any, resources: Any) -> Iterator[None]:
        held.append(searcher)
        yield

    study = tiny_study(
        quantization={"bits": [[4, 4]]},
        training={"epochs": 3, "init": "scratch"},
        pretrain=None,
        # From a rate that learns to rates that no float32 survives.
        space={
            "optimizers": ["adam", "sgd"],
            "batch_size": {"low": 16, "high": 64},
            "per_optimizer": {"sgd": {"learning_rate": {"low": 1e-3, "high": 1e9}}},
        },
        stages={"default": False, "random": 0, "search": 6, "retrain": 0},
        search={"sampler": "random"},
    )
    # One after the other, so that each knows all before it.
    assert run(study, results=tmp_path, display=keep, max_concurrent=1).complete
    assert_whole(tmp_path, {"search": 12})
    rows = [row for row in read_rows(tmp_path, "trials") if row["optimizer"] == "sgd"]
    diverged = {row["trial_key"] for row in rows if row["status"] == "diverged"}
    assert 2 <= len(diverged) < 6, Counter(row["status"] for row in rows)
    assert all((row["val_metric"] is None) == (row["trial_key"] in diverged) for row in rows)
    # What Optuna was told: each trial, the diverged ones with the worst accuracy there is.
    state = held[0].queue.arms["sgd-w4a4"]
    told = [trial.value for trial in state.sampler._study.trials]
    assert len(told) == 6 and all(value is not None and math.isfinite(value) for value in told)
    assert told.count(0.0) >= len(diverged)
    # ASHA judged the others on finite values, with the diverged ones in the rung.
    decisions = [row for row in read_rows(tmp_path, "decisions") if row["arm_id"] == "sgd-w4a4"]
    assert all(math.isfinite(row["value"]) and math.isfinite(row["cutoff"] or 0.0) for row in decisions)
    numbers = {row["trial_key"]: row["trial_number"] for row in rows}
    assert {numbers[row["trial_key"]] for row in decisions} == {
        row["trial_number"] for row in rows if row["trial_key"] not in diverged
    }
    assert all(row["n_in_rung"] == numbers[row["trial_key"]] for row in decisions), "every earlier trial is in the rung"


def test_a_segmentation_fault_costs_no_epoch(tmp_path: Path) -> None:
    with broken(sabotage.Segfaults):
        assert run(two_arms(), results=tmp_path / "results", max_concurrent=1).complete
    assert_whole(tmp_path / "results", {"default": 2})
    row = by_optimizer(tmp_path / "results")[VICTIM]
    assert (row["status"], row["n_restarts"]) == ("completed", 1)
    attempts = [epoch["attempt"] for epoch in last_epochs(tmp_path / "results", "tiny", row["trial_key"])]
    assert attempts == [1, 1, 2, 2, 2, 2], "it went on after its last recorded epoch"


def test_a_trial_whose_process_dies_each_time_is_given_up_after_three_restarts(tmp_path: Path) -> None:
    with broken(sabotage.AlwaysDies):
        assert run(two_arms(), results=tmp_path / "results", max_concurrent=1).complete
    assert_whole(tmp_path / "results", {"default": 2})
    rows = by_optimizer(tmp_path / "results")
    assert rows["adam"]["status"] == "completed"
    row = rows[VICTIM]
    assert (row["status"], row["error_type"], row["n_restarts"]) == ("error", "WorkerDied", 3)
    assert "worker process has died" in row["error_text"]
    assert len([path for path in tmp_path.iterdir() if path.name.isdigit()]) == 4, "processes that died"
    # Each died with an epoch more in the record: 2, 3, 4, 5.
    assert row["epochs_run"] == 5


def test_memory_that_torch_cannot_get_ends_the_trial_as_oom(tmp_path: Path) -> None:
    study = two_arms(
        workload={"model": "lenet5", "dataset": "digits"},
        space={"optimizers": ["adam", VICTIM], "batch_size": {"low": 1024, "high": 1024}},
    )
    with broken(sabotage.Starved):
        assert run(study, results=tmp_path / "results", max_concurrent=1).complete
    rows = by_optimizer(tmp_path / "results")
    assert rows["adam"]["status"] == "completed"
    row = rows[VICTIM]
    assert (row["status"], row["n_restarts"], row["val_metric"]) == ("oom", 0, None)
    assert "allocate memory" in row["error_text"], row["error_text"]
    assert row["host_hash"] and row["threads"] == 1, "where it was is known of a failed trial as well"


def test_a_process_that_rays_memory_monitor_kills_is_oom_and_the_study_goes_on(
    shared_cluster: SharedCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_memory_monitor_refresh_ms", "50")
    # The monitor looks at the whole machine, where others may take as much meanwhile: then once more.
    for number in range(3):
        folder = tmp_path / str(number)
        folder.mkdir()
        shared_cluster.end()  # the next one starts with this monitor
        memory = psutil.virtual_memory()
        threshold = (memory.total - memory.available + 1.6e9) / memory.total
        monkeypatch.setenv("RAY_memory_usage_threshold", f"{threshold:.4f}")
        with broken(sabotage.Hog):
            assert run(two_arms(), results=folder / "results").complete
        shared_cluster.end()
        rows, processes = by_optimizer(folder / "results"), [path for path in folder.iterdir() if path.name.isdigit()]
        if rows["adam"]["status"] == "completed" and len(processes) == 1:
            break
    assert rows[VICTIM]["status"] == "oom", rows[VICTIM]["error_text"]
    assert (rows[VICTIM]["n_restarts"], rows[VICTIM]["error_type"]) == (0, "OutOfMemoryError")
    assert len(processes) == 1, "not tried again"
    # Ray's monitor may have killed the neighbour as well: not its doing.
    assert rows["adam"]["status"] == "completed"
    assert_whole(folder / "results", {"default": 2})


def test_too_many_errors_in_user_code_end_the_command_with_3_and_keep_the_tracebacks(
    tmp_path: Path, tune_qat: Any
) -> None:
    study = tiny_study(
        max_failed_trials=1,
        training={"epochs": 3, "init": "scratch"},
        pretrain=None,
        space={"optimizers": ["adam", "sgd"], "batch_size": {"low": 16, "high": 64}},
    )
    options = ("--results", str(tmp_path / "results"), "--no-progress", "--max-concurrent", "1")
    with broken(sabotage.Raises):
        done = tune_qat("run", str(study_file(tmp_path, study)), *options)
    assert done.code == 3, done.err
    assert "max_failed_trials = 1" in done.err and "Nothing recorded is lost" in done.err
    failed = [row for row in read_rows(tmp_path / "results", "trials") if row["status"] == "error"]
    assert len(failed) >= 2
    for row in failed:
        assert row["error_type"] == "ZeroDivisionError" and "sabotage.py" in row["error_text"]
