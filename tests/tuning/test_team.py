"""Trials of two workers in a study: their numbers, and what becomes of them when a worker dies or fails."""

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import ray

from tests.helpers.runs import assert_whole
from tests.tuning.sabotage import VICTIM, Broken, broken, two_arms
from tune_qat.config import UsageError
from tune_qat.results.reader import last_epochs, read_rows
from tune_qat.tuning.run import run

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.usefixtures("shared_cluster")]


def in_a_step(of: Any, does: Any) -> None:
    """Let a worker do something in the second step of its next epoch, in which the first worker waits for it."""
    step, made = of._training._step, [0]

    def interrupted(*given: Any) -> None:
        made[0] += 1
        if made[0] == 2:
            does()
        step(*given)

    interrupted.at_gradients = step.at_gradients  # type: ignore[attr-defined]
    interrupted.clips = step.clips  # type: ignore[attr-defined]
    interrupted.workers = step.workers  # type: ignore[attr-defined]
    of._training._step = interrupted


class LosesAWorker(Broken):
    """Once: kill -9 of the second worker in the middle of an epoch."""

    def break_down(self) -> None:
        marker = self.folder / "broken"
        if not marker.exists():
            marker.touch()
            assert self._team
            die = lambda: os.kill(os.getpid(), signal.SIGKILL)  # noqa: E731  # travels by value
            ray.get(self._team._others[0].__ray_call__.remote(in_a_step, die))


def fail() -> None:
    raise ZeroDivisionError("a bug in the second worker")


class FailsInAWorker(Broken):
    def break_down(self) -> None:
        assert self._team
        ray.get(self._team._others[0].__ray_call__.remote(in_a_step, fail))


def rows(results: Path) -> dict[str, dict[str, Any]]:
    return {row["optimizer"]: row for row in read_rows(results, "trials")}


def test_a_trial_whose_worker_is_killed_goes_on_to_the_numbers_of_an_undisturbed_one(tmp_path: Path) -> None:
    for name in ("whole", "alone"):
        (tmp_path / name).mkdir()
    assert run(two_arms(), results=tmp_path / "alone" / "r", max_concurrent=1).complete
    assert run(two_arms(), results=tmp_path / "whole" / "r", max_concurrent=1, workers_per_trial=2).complete
    with broken(LosesAWorker):
        assert run(two_arms(), results=tmp_path / "r", max_concurrent=1, workers_per_trial=2).complete
    alone, whole, lost = (rows(folder / "r") for folder in (tmp_path / "alone", tmp_path / "whole", tmp_path))
    assert_whole(tmp_path / "r", {"default": 2})
    assert (lost[VICTIM]["status"], lost[VICTIM]["n_restarts"]) == ("completed", 1)
    assert [whole[VICTIM]["n_restarts"], alone[VICTIM]["workers"], lost[VICTIM]["workers"]] == [0, 1, 2]
    for name in ("adam", VICTIM):
        assert lost[name]["trial_key"] == whole[name]["trial_key"] == alone[name]["trial_key"]
        for column in ("train_loss", "val_loss", "val_metric"):
            assert lost[name][column] == whole[name][column], (name, column)
        assert whole[name]["train_loss"] == pytest.approx(alone[name]["train_loss"], rel=0.01)
    attempts = [one["attempt"] for one in last_epochs(tmp_path / "r", "tiny", lost[VICTIM]["trial_key"])]
    assert attempts == [1, 1, 2, 2, 2, 2], "it went on after its last recorded epoch"


def test_an_error_in_a_worker_is_the_trials_and_the_next_trial_has_new_workers(tmp_path: Path) -> None:
    with broken(FailsInAWorker):
        assert run(two_arms(), results=tmp_path / "r", max_concurrent=1, workers_per_trial=2).complete
    found = rows(tmp_path / "r")
    assert (found[VICTIM]["status"], found[VICTIM]["error_type"]) == ("error", "ZeroDivisionError")
    assert "a bug in the second worker" in found[VICTIM]["error_text"]
    assert found["adam"]["status"] == "completed"


def test_what_several_workers_cannot_do_is_one_message_before_the_first_trial(tmp_path: Path) -> None:
    small = {"optimizers": ["adam", VICTIM], "batch_size": {"low": 1, "high": 64}}
    with pytest.raises(UsageError, match=r"space\.batch_size\.low = 1 does not fall into 2 equal parts"):
        run(two_arms(space=small), results=tmp_path / "r", workers_per_trial=2)
    with pytest.raises(UsageError, match=r"training\.micro_batch = 4 takes gradients a part of the batch at a time"):
        run(
            two_arms(training={"epochs": 6, "init": "scratch", "micro_batch": 4}),
            results=tmp_path / "r",
            workers_per_trial=2,
        )
    with pytest.raises(UsageError, match="--backend inductor compiles the steps of one process"):
        run(two_arms(), results=tmp_path / "r", workers_per_trial=2, backend="inductor")
    with pytest.raises(UsageError, match=r"--workers-per-trial 16 is more than any node of the cluster has"):
        run(two_arms(), results=tmp_path / "r", workers_per_trial=16)
    with pytest.raises(UsageError, match=r"--workers-per-trial 2 needs a GPU for each worker, but a trial has 1\."):
        run(two_arms(), results=tmp_path / "r", workers_per_trial=2, gpus_per_trial=1)
    assert not (tmp_path / "r" / "epochs").exists()
