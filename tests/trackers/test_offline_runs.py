"""Offline runs, read back by wandb's own reader of their files, `wandb leet inspect`."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.helpers.records import SmallStudy
from tests.trackers.small import rows_of, search_trial
from tune_qat.trackers.recorded import recorded
from tune_qat.trackers.tracked import TrackedRun, tracked

OFFLINE = {"WANDB_MODE": "offline", "WANDB_ERROR_REPORTING": "false"}


def runs(results: Path) -> list[TrackedRun]:
    return list(map(tracked, recorded(results, "small")))


def records(path: Path) -> list[dict[str, Any]]:
    """Records of a file, as wandb itself lists them."""
    typed = [sys.executable, "-m", "wandb", "leet", "inspect", "--json", str(path)]
    listed = subprocess.run(typed, capture_output=True, text=True, check=True, env={**os.environ, **OFFLINE})
    return [json.loads(line) for line in listed.stdout.splitlines()]


def of_kind(found: list[dict[str, Any]], kind: str) -> list[dict[str, Any]]:
    return [one[kind] for one in found if one["type"] == kind]


def services() -> list[str]:
    """Those that this process has started."""
    return [one.name() for one in psutil.Process().children(recursive=True) if "wandb" in one.name()]


@pytest.mark.slow
def test_runs_hold_the_record_once_and_name_nothing_of_this_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One test: a service process starts with each export."""
    from tune_qat.trackers import offline_runs

    monkeypatch.setenv("WANDB_MODE", "online")  # whatever the user's shell says, nothing is sent
    monkeypatch.setenv("WANDB_API_KEY", "0" * 40)
    results, out = tmp_path / "results", tmp_path / "out"
    study = SmallStudy(results, "small")
    study.arm("adam")
    for status in ("completed", "diverged", "running"):
        search_trial(study, "adam-w4a4", status)
    assert offline_runs.export(runs(results), out) == (3, 3)
    assert services() == []
    of_record = rows_of(results)
    for run in runs(results):
        row, epochs = of_record[run.key]
        (folder,) = offline_runs.folders(run, out)
        (path,) = folder.glob("run-*.wandb")
        found = records(path)
        (about,) = of_kind(found, "run")
        assert (about["run_id"], about["project"], about["run_group"], about["job_type"]) == (
            f"small-{run.key}",
            "small",
            "adam-w4a4",
            "search",
        )
        assert {"search", "adam", "w4a4", run.outcome.get("status", "unfinished")} == set(about["tags"])
        config = about["config"]["update"]
        assert config["learning_rate"] == row["learning_rate"] and config["trial_key"] == run.key
        history = [one["item"] for one in of_kind(found, "history")]
        curve = {one["_step"]: one["val/accuracy"] for one in history if "val/accuracy" in one}
        assert curve == {one["epoch"]: one["val_metric"] for one in epochs if one["val_metric"] is not None}
        assert {one["_step"]: one["_timestamp"] for one in history} == {point.epoch: point.at for point in run.points}
        summary: dict[str, Any] = {}
        for one in of_kind(found, "summary"):
            summary |= one.get("update", {})
        assert summary.get("when_ended/val_accuracy") == row["val_metric"]
        assert summary.get("status") == (row["status"] if run.ended else None)
        assert "val/accuracy" not in summary
        assert of_kind(found, "exit")[0].get("exit_code", 0) == (row["status"] == "diverged")
        text = path.read_bytes()
        for name in (socket.gethostname(), str(tmp_path), os.environ.get("USER") or "root@"):
            assert name.encode() not in text, name
    # Again, after the study went on, and after an export that was cut off.
    assert offline_runs.export(runs(results), out) == (3, 0)
    (running,) = (run.key for run in runs(results) if not run.ended)
    search_trial(study, "adam-w4a4", "completed", trial_key=running)
    (whole,) = (run for run in runs(results) if run.outcome.get("status") == "diverged")
    (offline_runs.folders(whole, out)[0] / offline_runs.MARK).unlink()
    assert offline_runs.export(runs(results), out) == (3, 2)
    assert [len(offline_runs.folders(run, out)) for run in runs(results)] == [1, 1, 1]
    assert services() == []
