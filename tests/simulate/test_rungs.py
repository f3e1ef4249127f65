"""What rungs say of the end, beside plain counting."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.simulate.small import small, write_record
from tune_qat.results.early_stopping import Kept, kept_at
from tune_qat.simulate import rungs as kept
from tune_qat.simulate.formula import ClosedForm
from tune_qat.simulate.load import load
from tune_qat.simulate.loop import Simulation, simulate
from tune_qat.simulate.memory_record import Memory
from tune_qat.simulate.rungs import Rung, Whole, over_arms, rungs, whole_curves
from tune_qat.simulate.source import find
from tune_qat.study import Study

ESPCN = Path(__file__).parents[2] / "docs" / "results" / "espcn_photos" / "record"


def study() -> Study:
    return small(asha={"grace_epochs": 1, "reduction_factor": 4})  # rungs at 1 and 4 of 9


def one_rung(now: list[float], end: list[float]) -> Rung:
    """Of curves that have `now` at epoch 1 and `end` at epoch 9."""
    objectives = np.zeros((len(now), 9))
    objectives[:, 0], objectives[:, -1] = now, end
    return rungs(study(), [Whole(arm_id="a", objectives=objectives, survivors=False)])[0]


def ranks(values: list[float]) -> list[float]:
    """Mean ranks, so that equal values have one."""
    return [sum(other < value for other in values) + (values.count(value) - 1) / 2 for value in values]


def spearman(left: list[float], right: list[float]) -> float:
    return float(np.corrcoef(ranks(left), ranks(right))[0, 1])


def test_the_same_order_keeps_the_best_and_the_opposite_one_loses_it() -> None:
    values = [float(value) for value in range(12)]
    same, opposite = one_rung(values, values), one_rung(values[::-1], values)
    assert same.rank_correlation == pytest.approx(1.0) and opposite.rank_correlation == pytest.approx(-1.0)
    assert (same.winner_kept, same.top_kept) == (True, 1.0)
    assert (opposite.winner_kept, opposite.top_kept) == (False, 0.0)


@pytest.mark.parametrize("seed", range(5))
def test_correlation_and_shares_are_those_of_plain_counting(seed: int) -> None:
    generator = np.random.default_rng(seed)
    now, end = (list(generator.integers(0, 9, 16).astype(float)) for _ in range(2))  # with equal values among them
    found = one_rung(now, end)
    assert found.rank_correlation == pytest.approx(spearman(now, end))
    # Of 16 the upper quarter: ASHA's cut lies a quarter of the way from the 12th to the 13th.
    ordered = sorted(now)
    limit = ordered[11] + 0.25 * (ordered[12] - ordered[11])
    third = sorted(end)[-3]
    assert found.winner_kept == any(n >= limit for n, e in zip(now, end, strict=True) if e == max(end))
    best = sum(n >= limit and e >= third for n, e in zip(now, end, strict=True))
    assert found.top_kept == min(3, best) / 3


def test_values_that_are_all_the_same_have_no_order() -> None:
    found = one_rung([0.5] * 6, [0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    assert found.rank_correlation is None and found.winner_kept and found.top_kept == 1.0


def test_arms_are_taken_together_rung_by_rung() -> None:
    values = [float(value) for value in range(12)]
    rows = [one_rung(values, values), one_rung(values[::-1], values), one_rung([0.5] * 12, values)]
    (row,) = over_arms(rows)
    expected: dict[str, Any] = {"rung": 1, "arms": 3, "curves": 36, "winner_kept": 2, "lowest": pytest.approx(-1.0)}
    assert {name: row[name] for name in expected} == expected
    assert row["rank_correlation"] == pytest.approx(0.0)
    assert row["top_kept"] == pytest.approx(2 / 3)


def test_recorded_curves_are_those_that_nothing_could_stop(tmp_path: Path) -> None:
    plenty = small(stages={"default": True, "random": 8, "search": 6, "retrain": 2})
    write_record(tmp_path, plenty)
    done = simulate(plenty, load(tmp_path, plenty).curves, workers=1)
    for whole in whole_curves(done):
        runs = [run for run in done.runs if run.plan.arm_id == whole.arm_id and run.status == "completed"]
        free = [run for run in runs if run.plan.stage in ("default", "random")]
        assert not whole.survivors and len(whole.objectives) == len(free)
        assert sorted(whole.objectives[:, -1]) == sorted(run.curve.end or 0.0 for run in free)


def test_where_these_are_few_survivors_help_out_and_it_is_said(tmp_path: Path) -> None:
    few = small(stages={"default": True, "random": 1, "search": 12, "retrain": 2})
    write_record(tmp_path, few)
    done = simulate(few, load(tmp_path, few).curves, workers=1)
    found = whole_curves(done)
    assert found and all(whole.survivors for whole in found)
    assert all(len(whole.objectives) >= kept.FEW for whole in found)


def test_a_formula_has_the_whole_curve_of_every_trial() -> None:
    done = simulate(small(), ClosedForm.of(small()), workers=1)
    assert any(run.status == "stopped" for run in done.runs)
    for whole in whole_curves(done):
        runs = [run for run in done.runs if run.plan.arm_id == whole.arm_id and run.plan.stage != "retrain"]
        assert len(whole.objectives) == sum(run.curve.status == "completed" for run in runs)


def test_the_earliest_first_rung_of_a_recorded_study_is_that_of_its_default_and_random_trials() -> None:
    source = find(str(ESPCN), None, {})
    assert source.study.rungs == (2, 6), "as it began"
    done = Simulation(source.study, source.curves, 1, Memory(start_sha256=source.curves.start_sha256))
    arms = kept.evidence(done)
    assert kept_at(2, arms, 3) == Kept(2, 12, 20) and kept_at(6, arms, 3) == Kept(6, 18, 20)
    assert kept.earliest(done) == Kept(3, 14, 20)


def test_with_a_formula_it_is_that_of_the_simulated_ones() -> None:
    plenty = small(
        stages={"default": True, "random": 8, "search": 2, "retrain": 0},
        quantization={"bits": [[8, 8], [4, 4], [2, 2]]},
    )
    done = simulate(plenty, ClosedForm.of(plenty), workers=2)
    assert [len(trials) for trials in kept.evidence(done)] == [9] * 6
    found = kept.earliest(done)
    assert found is not None and found.arms == 6 and not found.refuted
    assert kept.earliest(simulate(small(), ClosedForm.of(small()), workers=1)) is None, "four trials an arm are too few"
