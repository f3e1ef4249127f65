"""One ASHA per arm, beside a plain one."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.helpers.studies import tiny_study
from tune_qat.study import Study
from tune_qat.tuning.asha import Decision, cutoff
from tune_qat.tuning.objective import OBJECTIVE, Objective
from tune_qat.tuning.scheduler import StudyScheduler

NO_CONTROLLER: Any = None


def study() -> Study:
    return tiny_study(training={"epochs": 27}, asha={"grace_epochs": 1, "reduction_factor": 3})


def trial(name: str, arm: str, stage: str = "search") -> Any:
    return SimpleNamespace(trial_id=name, config={"arm_id": arm, "stage": stage, "trial_key": name})


def scheduler(decisions: list[Decision]) -> StudyScheduler:
    return StudyScheduler(study(), decisions.append)


def run_one(asha: StudyScheduler, one: Any, curve: list[float]) -> int:
    """Epochs until it is stopped, or all of them."""
    for epoch, value in enumerate(curve, start=1):
        if asha.on_trial_result(NO_CONTROLLER, one, {"epoch": epoch, OBJECTIVE: value}) == "STOP":
            return epoch
    return len(curve)


def plain_asha(curves: dict[str, list[float]], rungs: tuple[int, ...], factor: int) -> dict[str, int]:
    """Successive halving with percentiles over plain lists, one trial after the other."""
    seen: dict[int, list[float]] = {rung: [] for rung in rungs}
    lasted = {}
    for name, curve in curves.items():
        lasted[name] = len(curve)
        for rung in rungs:
            value, before = curve[rung - 1], sorted(seen[rung])
            seen[rung].append(value)
            if before:
                place = (len(before) - 1) * (1 - 1 / factor)
                low, high = before[int(place)], before[min(int(place) + 1, len(before) - 1)]
                if value < low + (high - low) * (place - int(place)):
                    lasted[name] = rung
                    break
    return lasted


@pytest.fixture
def curves() -> dict[str, list[float]]:
    generator = np.random.default_rng(0)
    return {f"t{i}": list(generator.uniform(size=27).cumsum() * generator.uniform()) for i in range(40)}


def test_rungs_are_where_asha_looks() -> None:
    assert study().rungs == (1, 3, 9)
    assert tiny_study().rungs == (1,)
    assert tiny_study(asha={"enabled": False}).rungs == ()


def test_decisions_equal_a_plain_asha(curves: dict[str, list[float]]) -> None:
    asha = scheduler([])
    lasted = {name: run_one(asha, trial(name, "adam-w4a4"), curve) for name, curve in curves.items()}
    assert lasted == plain_asha(curves, (1, 3, 9), 3)
    assert len(set(lasted.values())) == 4, "some trials end at every rung and some run to the end"


def test_recorded_decisions_say_what_was_decided_and_on_what(curves: dict[str, list[float]]) -> None:
    decisions: list[Decision] = []
    asha = scheduler(decisions)
    for name, curve in curves.items():
        run_one(asha, trial(name, "adam-w4a4"), curve)
    for decision in decisions:
        must_stop = decision.cutoff is not None and decision.value < decision.cutoff
        assert decision.action == ("stop" if must_stop else "continue")
    assert [d.n_in_rung for d in decisions if d.rung == 1] == list(range(40))


def test_arms_are_never_compared_with_one_another() -> None:
    asha = scheduler([])
    for index in range(5):
        run_one(asha, trial(f"good{index}", "adam-w4a4"), [0.9] * 27)
    assert run_one(asha, trial("bad", "sgd_clip-w4a4"), [0.1] * 27) == 27
    assert run_one(asha, trial("bad2", "adam-w4a4"), [0.1] * 27) == 1


@pytest.mark.parametrize("stage", ["pretrain", "default", "random", "retrain"])
def test_only_the_search_stage_is_stopped_early(stage: str) -> None:
    asha = scheduler([])
    run_one(asha, trial("good", "adam-w4a4"), [0.9] * 27)
    assert run_one(asha, trial("bad", "adam-w4a4", stage), [0.1] * 27) == 27


def test_refilled_rungs_decide_like_those_that_never_stopped(curves: dict[str, list[float]]) -> None:
    whole = scheduler([])
    lasted = {name: run_one(whole, trial(name, "adam-w4a4"), curve) for name, curve in curves.items()}
    names = list(curves)
    again = scheduler([])
    for name in names[:20]:
        again.refill("adam-w4a4", name, enumerate(curves[name][: lasted[name]], start=1))
    for name in names[20:]:
        assert run_one(again, trial(f"again-{name}", "adam-w4a4"), curves[name]) == lasted[name]


def test_what_was_recorded_and_never_judged_is_judged_as_if_it_had_been_reported(
    curves: dict[str, list[float]],
) -> None:
    decisions: list[Decision] = []
    expected: list[Decision] = []
    reported, judged = scheduler(expected), scheduler(decisions)
    for name, curve in curves.items():
        lasted = run_one(reported, trial(name, "adam-w4a4"), curve)
        assert judged.judge("adam-w4a4", name, list(enumerate(curve, start=1))) == (lasted < 27)
    assert decisions == expected, "what follows a stop is in no rung"


def test_a_rung_that_holds_a_trial_does_not_judge_it_again() -> None:
    decisions: list[Decision] = []
    asha = scheduler(decisions)
    for number in range(3):
        run_one(asha, trial(f"t{number}", "adam-w4a4"), [0.5 + number / 10] * 2)
    asha.refill("adam-w4a4", "cut", [(1, 0.1)])
    before = len(decisions)
    assert not asha.judge("adam-w4a4", "cut", [(1, 0.1), (2, 0.9), (3, 0.9)]), "an earlier decision let it go on"
    assert [(one.trial_key, one.rung, one.n_in_rung) for one in decisions[before:]] == [("cut", 3, 0)]
    one = trial("cut", "adam-w4a4")
    assert asha.on_trial_result(NO_CONTROLLER, one, {"epoch": 3, OBJECTIVE: 0.9}) == "CONTINUE"
    assert len(decisions) == before + 1


def test_without_asha_nothing_is_judged() -> None:
    decisions: list[Decision] = []
    asha = StudyScheduler(tiny_study(asha={"enabled": False}), decisions.append)
    assert not asha.judge("adam-w4a4", "t", [(1, 0.1)]) and not decisions


def test_a_worst_value_in_a_rung_harms_nobody_else() -> None:
    asha = scheduler([])
    worst = Objective(1, 0.0).of(None)
    for index in range(2):
        one = trial(f"diverged{index}", "adam-w4a4")
        asha.on_trial_result(NO_CONTROLLER, one, {"epoch": 1, OBJECTIVE: worst})
    assert run_one(asha, trial("fine", "adam-w4a4"), [0.5] * 27) == 27
    assert run_one(asha, trial("poor", "adam-w4a4"), [0.1] * 27) == 1


def test_cutoffs_recorded_after_a_divergence_at_a_rung_are_those_that_asha_used() -> None:
    decisions: list[Decision] = []
    asha = scheduler(decisions)
    for index, value in enumerate((0.5, 0.4)):
        one = trial(f"diverged{index}", "adam-w4a4")
        # Ray tells a scheduler of a trial's last report by its end alone.
        asha.on_trial_complete(NO_CONTROLLER, one, {"epoch": 1, OBJECTIVE: value})
    run_one(asha, trial("next", "adam-w4a4"), [0.45] * 27)
    assert (decisions[0].n_in_rung, decisions[0].action) == (2, "stop")
    assert decisions[0].cutoff == pytest.approx(0.4 + 0.1 * 2 / 3)  # the upper third of 0.4 .. 0.5


def test_a_stopped_trial_is_in_its_rung_once() -> None:
    decisions: list[Decision] = []
    asha = scheduler(decisions)
    run_one(asha, trial("good", "adam-w4a4"), [0.9] * 27)
    bad = trial("bad", "adam-w4a4")
    assert run_one(asha, bad, [0.1] * 27) == 1
    asha.on_trial_complete(NO_CONTROLLER, bad, {"epoch": 1, OBJECTIVE: 0.1})
    run_one(asha, trial("next", "adam-w4a4"), [0.5] * 27)
    assert decisions[-1].n_in_rung == 2


def test_a_report_without_an_epoch_is_no_decision() -> None:
    decisions: list[Decision] = []
    asha = scheduler(decisions)
    one = trial("broken", "adam-w4a4")
    assert asha.on_trial_result(NO_CONTROLLER, one, {OBJECTIVE: 0.0, "status": "error"}) == "CONTINUE"
    assert decisions == []


def test_cutoff_of_an_empty_rung_is_none() -> None:
    assert cutoff([], 3) is None
    assert cutoff([1.0], 3) == 1.0


@pytest.mark.parametrize(
    ("metric", "sign", "expected"),
    [(0.5, 1, 0.5), (0.5, -1, -0.5), (None, 1, 0.0), (np.nan, 1, 0.0), (None, -1, -2.0), (np.inf, -1, -2.0)]
    + [(-3.0, 1, 0.0), (1e30, -1, -2.0)],  # an R^2, an error: without a bound
)
def test_the_objective_is_always_finite(metric: float | None, sign: int, expected: float) -> None:
    assert Objective(sign, 0.0 if sign > 0 else 2.0).of(metric) == expected
