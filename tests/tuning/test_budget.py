"""Budgets: the decision as a function, what a run has spent on a clock that the test moves, and whole runs."""

from pathlib import Path

import pytest

from tests.helpers.runs import assert_whole
from tests.helpers.studies import tiny_study
from tune_qat.cli.run_summary import ending
from tune_qat.config import UsageError
from tune_qat.results.reader import read_rows
from tune_qat.tuning.budget import NO_LIMIT, Budget, Meter, Spent
from tune_qat.tuning.run import run

H = 3600.0


def spent(**changes: object) -> Spent:
    values = {"seconds": 0.0, "started": 0, "ended": 0, "held_s": 0.0, "running_s": (), "usual_s": 0.0, "gpus": 0.0}
    return Spent(**{**values, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("budget", "so_far", "reached"),
    [
        (NO_LIMIT, spent(seconds=1e9, started=10**6, gpus=8, held_s=1e9, usual_s=1e9), None),
        (Budget(trials=3), spent(started=2), None),
        (Budget(trials=3), spent(started=3), "trials"),
        # The last minute that leaves time for a trial of ten, and the next one.
        (Budget(seconds=H), spent(seconds=3000, usual_s=600), None),
        (Budget(seconds=H), spent(seconds=3001, usual_s=600), "time"),
        # 2 GPUs a trial: 0.5 h held, one running for a quarter of its usual half hour, and one more: 3 GPU-hours.
        (Budget(gpu_hours=3), spent(gpus=2, held_s=H / 2, running_s=[H / 8], usual_s=H / 2), None),
        (Budget(gpu_hours=2.9), spent(gpus=2, held_s=H / 2, running_s=[H / 8], usual_s=H / 2), "gpu_hours"),
        # One that has run for longer than usual counts as long as it has run.
        (Budget(gpu_hours=3), spent(gpus=2, held_s=H / 2, running_s=[H], usual_s=H / 2), "gpu_hours"),
        (Budget(gpu_hours=4), spent(gpus=2, held_s=H / 2, running_s=[H], usual_s=H / 2), None),
    ],
)
def test_a_budget_leaves_room_for_one_more_trial_or_says_which_limit_does_not(
    budget: Budget, so_far: Spent, reached: str | None
) -> None:
    assert budget.reached(so_far) == reached


def test_a_meter_adds_up_parts_of_lost_trials_and_takes_the_usual_time_from_whole_ones() -> None:
    now = [100.0]
    meter = Meter(lambda: now[0])
    meter.gpus = 0.5
    for key in ("a", "b", "a"):
        meter.planned(key)
    meter.begin("a")
    now[0] = 110.0
    # Nothing has ended: what runs says what is usual.
    assert (meter.spent().usual_s, meter.spent().started) == (10.0, 2)
    meter.lose("a")
    now[0] = 150.0
    meter.begin("a")
    meter.begin("b")
    now[0] = 160.0
    meter.end("a")
    assert meter.spent() == Spent(
        seconds=60.0, started=2, ended=1, held_s=20.0, running_s=[10.0], usual_s=20.0, gpus=0.5
    )
    assert meter.spent().hours == 30 / H and meter.spent().gpu_hours == 15 / H
    now[0] = 165.0
    meter.end("b")
    meter.end("never begun")
    assert meter.spent().usual_s == 15.0 and meter.spent().running_s == []


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.usefixtures("shared_cluster")
def test_a_budget_of_trials_ends_a_run_that_goes_on_later_and_says_so(tmp_path: Path) -> None:
    study = tiny_study(quantization={"bits": [[4, 4]]}, stages={"default": True, "search": 1, "retrain": 1})
    first = run(study, results=tmp_path, budget=Budget(trials=2), max_concurrent=1)
    assert (first.complete, first.stopped_by, first.budget, first.left) == (False, "budget", "trials", 5)
    rows = read_rows(tmp_path, "trials")
    assert [row["stage"] for row in rows if row["status"] == "completed"] and len(rows) == 2
    shown = ending(study, first, results=tmp_path, again="tune-qat run tiny.toml")
    said = " ".join(shown.split())
    assert "--trial-budget leaves no room for another trial. 2 trials ended in this run (0.00 hours" in said
    assert "5 of the plan are left" in said and shown.endswith("\nresume:\n  tune-qat run tiny.toml")
    last = run(study, results=tmp_path, budget=Budget(trials=5), max_concurrent=1)
    assert (last.complete, last.stopped_by, last.left) == (True, None, 0)
    assert_whole(tmp_path, {"pretrain": 1, "default": 2, "search": 2, "retrain": 2})


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.usefixtures("shared_cluster")
def test_gpu_hours_without_gpus_are_refused_with_what_to_use_instead(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="hold no GPU.*--time-budget 8h"):
        run(tiny_study(), results=tmp_path / "results", budget=Budget(gpu_hours=1.0))
    assert not (tmp_path / "results").exists()
