"""Simulated studies with several objectives: cut anywhere, and replayed from a record that has not tried everything."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.rows import filled, write
from tests.simulate.small import small, write_record
from tests.simulate.test_resume import assert_whole, dies_after
from tune_qat.config import Scheme, TuneQatError, UsageError
from tune_qat.simulate.command import describe
from tune_qat.simulate.formula import ClosedForm
from tune_qat.simulate.load import load
from tune_qat.simulate.loop import Run, Simulation, simulate
from tune_qat.simulate.memory_record import Memory
from tune_qat.simulate.source import Source
from tune_qat.simulate.summary import fronts
from tune_qat.study import Study

BITS = [[8, 8], [4, 4], [3, 3], [2, 2]]


def study_of(sampler: str = "tpe", **changes: Any) -> Study:
    known: dict[str, Any] = {
        "selection": {"front": 2},
        "stages": {"default": True, "random": 4, "search": 14, "retrain": 2},
    }
    return small(
        mode="joint",
        quantization={"bits": BITS, "search_bits": True},
        search={"objectives": ["accuracy", "bit_operations"], "sampler": sampler, "startup_trials": 3},
        **{**known, **changes},
    )


def place(run: Run) -> tuple[str, Scheme]:
    return run.plan.config.optimizer, run.plan.config.scheme


def started(plan: Any) -> tuple[str, str]:
    return plan.stage, plan.trial_key


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_a_study_that_dies_anywhere_ends_as_one_that_does_not(sampler: str) -> None:
    study = study_of(sampler)
    curves = ClosedForm.of(study)
    whole = simulate(study, curves, workers=1, ahead=False)
    (points,) = whole.queue.arms.values()
    assert 1 < len(points.choices) <= 2 and not whole.memory.decisions
    trials = {started(run.plan) for run in whole.runs}
    for epochs in (25, 61, 110, 170):
        memory = Memory(start_sha256=curves.start_sha256)
        for cut in (dies_after(epochs), dies_after(7)):
            Simulation(study, curves, 1, memory, ahead=False, cut=cut).run()
        last = Simulation(study, curves, 1, memory, ahead=False).run()
        assert last.queue.finished
        assert {started(plan) for plan in memory.plans.values()} == trials
        assert fronts(last) == fronts(whole)


def test_every_trial_of_the_plan_is_run_by_many_workers() -> None:
    study = study_of(selection={"front": 1})
    done = simulate(study, ClosedForm.of(study), workers=4)
    assert_whole(study, done.memory)


def with_costs(results: Path, study: Study) -> None:
    """The costs of the formula, as a record has them."""
    rows = [
        {"method": "lsq", "weight_bits": bits, "activation_bits": bits, "layer": "all", "weight_bytes": 1000 * bits}
        | {"stored_bytes": 1000 * bits, "activation_bytes": 1000 * bits, "bit_operations": bits * bits * 1_000_000}
        for bits, _ in BITS
    ]
    write(results, study.name, "costs", "costs", *(filled("costs", **row) for row in rows))


def test_a_record_is_replayed_and_lends_what_it_has_not_tried(tmp_path: Path) -> None:
    study = study_of()
    recorded = write_record(tmp_path, study)
    with pytest.raises(UsageError, match="does not say what its schemes cost"):
        simulate(study, load(tmp_path, study).curves, workers=1)
    with_costs(tmp_path, study)
    found = load(tmp_path, study)
    tried = {place(run) for run in recorded.runs if run.plan.stage != "pretrain"}
    assert len(tried) < 8, "else nothing is lent"
    again = simulate(study, found.curves, workers=1)
    assert fronts(again) == fronts(recorded), "the same seed is the same study"
    assert {run.curve.source for run in again.runs} == {"recorded"}
    other = study.model_copy(update={"seed": 5})
    lent = simulate(other, found.curves, workers=1)
    new = [run for run in lent.runs if place(run) not in tried]
    assert lent.queue.finished
    assert all(run.curve.source == "neighbour" for run in new if run.plan.stage != "pretrain")
    best = found.curves.best(study.arms()[0])
    ends = [row["val_metric"] for row in recorded.memory.outcomes.values() if row["status"] == "completed"]
    assert best is not None and best <= max(ends)


def test_the_report_has_the_front_and_settings_of_early_stopping_are_not_compared() -> None:
    study = study_of()
    source = Source(study=study, curves=ClosedForm.of(study), record=None, where="small")
    text = describe(source)
    assert "front: what is trained again" in text and "nothing is stopped early" in text and "bit_operations" in text
    values = json.loads(describe(source, form="json"))
    assert [point["bits"] for point in values["fronts"]] and len(values["fronts"]) <= 2
    with pytest.raises(TuneQatError, match="--compare compares settings of early stopping"):
        describe(source, seeds=2)
