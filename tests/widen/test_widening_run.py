"""A study that has run is widened, and what it had counts: on a real Ray session."""

import shutil
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tune_qat import cli
from tune_qat.cli.run_summary import ending
from tune_qat.results.reader import last_epochs, read_rows
from tune_qat.study import Study
from tune_qat.tuning.run import run
from tune_qat.tuning.sampler import ArmSampler

pytestmark = [pytest.mark.ray, pytest.mark.xdist_group("ended")]


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> dict[str, list[tuple[str, Any, float]]]:
    """What each arm's sampler starts from, by optimizer."""
    histories: dict[str, list[tuple[str, Any, float]]] = {}

    class Spy(ArmSampler):
        def __init__(self, spaces: Any, **given: Any) -> None:
            histories[next(iter(spaces))] = list(given["history"])
            super().__init__(spaces, **given)

    monkeypatch.setattr("tune_qat.tuning.arm_choices.ArmSampler", Spy)
    return histories


@pytest.mark.slow
def test_a_widened_study_runs_only_its_new_part(
    ended: tuple[Study, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: dict[str, Any]
) -> None:
    results = tmp_path / "results"
    shutil.copytree(ended[1], results)
    before = {row["trial_key"]: row for row in read_rows(results, "trials")}
    wide_file = tmp_path / "wide.toml"
    typed = ["tune-qat", "widen", str(results), "--arm", "adam-w4a4", "--learning-rate", "1e-7:10",
             "--batch-size", "4:128", "--trials", "6", "-o", str(wide_file)]  # fmt: skip
    monkeypatch.setattr(sys, "argv", typed)
    with pytest.raises(SystemExit) as done:
        cli.main()
    assert not done.value.code
    wide = Study.load(str(wide_file))
    assert run(wide, results=results, max_concurrent=1).complete

    rows = {row["trial_key"]: row for row in read_rows(results, "trials")}
    assert all(rows[key] == row for key, row in before.items()), "old trials are as they were"
    for key, row in before.items():
        epochs = last_epochs(results, wide.name, key)
        assert [(epoch["epoch"], epoch["attempt"]) for epoch in epochs] == [
            (epoch, 1) for epoch in range(1, row["epochs_run"] + 1)
        ]
    assert len(read_rows(results, "trials")) == len(rows), "keys are distinct"
    new = [row for key, row in rows.items() if key not in before]
    assert Counter(row["stage"] for row in new if row["stage"] != "retrain") == {"search": 2 * 2}
    assert_plan_is_met(results, wide)
    searched = [row for row in new if row["stage"] == "search"]
    assert all(outside(row, before) for row in searched), "most of the wider space is new"

    for arm in wide.arms():
        old = [row for row in before.values() if row["arm_id"] == arm.arm_id and row["stage"] != "retrain"]
        history = told[arm.optimizers[0]]
        assert sorted(values["learning_rate"] for _, values, _ in history) == sorted(r["learning_rate"] for r in old)
        # One that has diverged counts as the worst there is.
        assert sorted(value for *_, (value,) in history) == sorted(r["val_metric"] or 0.0 for r in old)
    assert not run(wide, results=results).stopped_by
    assert {row["trial_key"]: row for row in read_rows(results, "trials")} == rows, "once more does nothing"


def outside(row: dict[str, Any], before: Mapping[str, dict[str, Any]]) -> bool:
    """Whether a trial lies beyond all that its arm had tried in its ranges of before."""
    known = [old for old in before.values() if (old["arm_id"], old["stage"]) == (row["arm_id"], "search")]
    names = ("learning_rate", "batch_size")
    spans = [(min(old[name] for old in known), max(old[name] for old in known)) for name in names]
    return any(not low <= row[name] <= high for name, (low, high) in zip(names, spans, strict=True))


def assert_plan_is_met(results: Path, study: Study) -> None:
    """Every arm has its planned trials of every stage; retrain trials of an earlier best do not count."""
    best = {row["arm_id"]: row["best_config_id"] for row in read_rows(results, "arms", study.name)}
    rows = [row for row in read_rows(results, "trials", study.name) if row["stage"] != "pretrain"]
    counted = [row for row in rows if row["stage"] != "retrain" or row["config_id"] == best[row["arm_id"]]]
    assert Counter((row["arm_id"], row["stage"]) for row in counted) == {
        (arm.arm_id, stage): count for arm in study.arms() for stage, count in study.planned(arm).items() if count
    }
    assert not {row["status"] for row in rows} & {"running", "interrupted"}


def test_the_last_screen_offers_the_command(ended: tuple[Study, Path]) -> None:
    study, results = ended
    outcome: Any = SimpleNamespace(results=results, complete=True, seconds=60.0, stopped_by=None)
    screen = ending(study, outcome, results=Path("my results"), again="tune-qat run tiny.toml")
    lines = screen.splitlines()
    at = lines.index("  tune-qat widen 'my results' -o wide.toml")
    assert lines[at - 1].startswith("wider ranges: ") and lines[at - 1].endswith(" near an edge:")
    assert "--set" not in screen
