"""Cost, regret and what is chosen, from runs that are made up."""

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from tests.simulate.small import small
from tune_qat.results.early_stopping import Kept
from tune_qat.simulate import summary
from tune_qat.simulate.compare import Setting, choose, compare, settings
from tune_qat.simulate.curves import Curve
from tune_qat.simulate.formula import ClosedForm
from tune_qat.simulate.loop import Run, simulate
from tune_qat.study import Arm
from tune_qat.study.begun import Begun
from tune_qat.tuning.objective import Objective
from tune_qat.tuning.objectives import METRIC_ALONE


def run(stage: str, status: str, end: float, *, epoch: int = 4, ended_at: float = 1.0, known: int = 4) -> Run:
    curve = Curve(
        metrics=(0.1, 0.1, 0.1, end),
        seconds=(1.0,) * 4,
        device_seconds=(900.0,) * 4,
        status="completed",
        source="neighbour",
        known_epochs=known,
    )
    config = SimpleNamespace(config_id=f"{end}", seed=0)
    plan: Any = SimpleNamespace(stage=stage, arm_id="adam-w4a4", trial_key=f"{end}", config=config)
    return Run(trial=None, plan=plan, curve=curve, first=0, epoch=epoch, status=status, ended_at=ended_at)


class Best:
    """Curves whose best is 1."""

    objective = Objective(sign=1, worst=0.0)

    def best(self, arm: Arm) -> float:
        return 1.0

    def worth(self, plan: Any) -> float:
        return float(plan.trial_key)


ONE_ARM: dict[str, Any] = {
    "space": {"optimizers": ["adam"], "batch_size": {"low": 16, "high": 64}},
    "quantization": {"bits": [[4, 4]]},
}


def simulation(*runs: Run, now: float = 10.0) -> Any:
    study = small(
        space={"optimizers": ["adam"], "batch_size": {"low": 16, "high": 64}}, quantization={"bits": [[4, 4]]}
    )
    queue = SimpleNamespace(objectives=METRIC_ALONE)
    return SimpleNamespace(study=study, curves=Best(), runs=list(runs), now=now, queue=queue)


def test_cost_counts_what_was_run_beside_what_none_stopped_would_take() -> None:
    found = summary.cost(simulation(run("search", "stopped", 0.5, epoch=1), run("search", "completed", 0.7)))
    assert (found["epochs"], found["epochs_without_asha"]) == (5, 8)
    assert (found["device_hours"], found["device_hours_without_asha"]) == (1.25, 2.0)
    assert (found["trials"], found["stopped"], found["completed"], found["diverged"]) == (2, 1, 1, 0)


def test_sources_are_shares_of_the_epochs_that_were_run() -> None:
    found = summary.sources(
        simulation(run("search", "stopped", 0.5, epoch=1), run("search", "completed", 0.7, known=1))
    )
    assert found == {"neighbour": 2 / 5, "extrapolated": 3 / 5}


@pytest.mark.parametrize(
    ("runs", "winner", "lost_at"),
    [
        ([run("search", "stopped", 0.9, epoch=2), run("search", "completed", 0.7)], "stopped", 2),
        ([run("search", "stopped", 0.6, epoch=2), run("search", "completed", 0.7)], "kept", None),
        ([run("search", "stopped", 0.7, epoch=2), run("search", "completed", 0.7)], "kept", None),
        ([run("search", "stopped", 0.9, epoch=2, known=2), run("search", "completed", 0.7)], "unknown", None),
        ([run("search", "stopped", 0.6, epoch=2, known=2), run("search", "completed", 0.7)], "kept", None),
        ([run("random", "completed", 0.9)], None, None),
    ],
)
def test_the_winner_is_the_search_trial_whose_whole_curve_ends_best(
    runs: list[Run], winner: str | None, lost_at: int | None
) -> None:
    (row,) = summary.arms(simulation(*runs))
    assert (row["winner"], row["lost_at"]) == (winner, lost_at)


def test_regret_is_of_what_the_study_would_choose_then() -> None:
    runs = [
        run("default", "completed", 0.5, ended_at=2.0),
        run("search", "stopped", 0.95, ended_at=3.0),
        run("search", "completed", 0.8, ended_at=6.0),
        run("retrain", "completed", 0.99, ended_at=9.0),
    ]
    rows = summary.over_time(simulation(*runs), margin=0.3)
    assert [row["regret"] for row in rows] == [None, 0.5, 0.5, pytest.approx(0.2), pytest.approx(0.2)]
    assert [row["within_margin"] for row in rows] == [0, 0, 0, 1, 1]
    assert [row["trials"] for row in rows] == [0, 1, 2, 3, 4]


def setting(grace: int | None, epochs: float, regret: float | None, **more: Any) -> Setting:
    known: dict[str, Any] = dict(reduction_factor=2, rungs=(), own=False, trials=1, hours=1.0, device_hours=1.0)
    known |= {
        "without_result": 0.0,
        "error": None,
        "largest_regret": None,
        "winners_lost": None,
        "extrapolated": 0.0,
        "best_kept": None,
    }
    return Setting(grace_epochs=grace, epochs=epochs, regret=regret, **{**known, **more})


def test_the_fewest_epochs_within_the_margin_are_chosen_and_at_equal_time_the_least_regret() -> None:
    found = [setting(None, 100, 0.010), setting(1, 30, 0.030), setting(2, 50, 0.014), setting(4, 60, 0.009)]
    assert choose(found, 0.005, at_equal_time=False) is found[2]
    assert choose(found, 0.05, at_equal_time=False) is found[1]
    assert choose(found, 0.0, at_equal_time=False) is found[3]
    assert choose(found, 0.05, at_equal_time=True) is found[3]
    refuted = replace(found[1], best_kept=Kept(1, 0, 5))
    assert choose([found[0], refuted, *found[2:]], 0.05, at_equal_time=False) is found[2], "run would refuse it"
    late = replace(found[3], without_result=2.0)
    assert choose([*found[:3], late], 0.0, at_equal_time=True) is found[0], "an arm without a result has no regret"
    assert choose([setting(None, 0, None), setting(1, 0, None)], 0.1, at_equal_time=False) is None


def test_settings_are_a_grid_with_the_studys_own_and_without_asha() -> None:
    found = [(one.asha.enabled, one.rungs, own) for one, own in settings(small())]
    assert found[0] == (False, (), False)
    assert [own for _, _, own in found].count(True) == 1
    assert (True, (1, 2, 4, 8), True) in found and (True, (4,), False) in found
    assert len(found) == 1 + 3 * 3
    odd = [own for _, own in settings(small(asha={"grace_epochs": 3, "reduction_factor": 5}))]
    assert len(odd) == 1 + 3 * 3 + 1 and odd.count(True) == 1
    named = [(one.rungs, own) for one, own in settings(small(), 7)]
    assert ((7,), False) in named and len(named) == 1 + 3 * 3 + 1
    none = [own for _, own in settings(small(asha={"enabled": False}))]
    assert none == [True, *[False] * 9]


def test_every_setting_has_the_same_seeds_and_asha_saves_epochs() -> None:
    study = small(stages={"default": True, "search": 8, "retrain": 0}, **ONE_ARM)
    found = list(compare(study, ClosedForm.of(study), [], workers=2, seeds=2))
    assert found == list(compare(study, ClosedForm.of(study), [], workers=2, seeds=2))
    without, *others = found
    assert without.winners_lost == 0 and all(one.epochs < without.epochs for one in others)
    assert {one.trials for one in found} == {without.trials}
    alone = [simulate(study.model_copy(update={"seed": seed}), ClosedForm.of(study), workers=2) for seed in (1, 2)]
    own = next(one for one in found if one.own)
    assert own.epochs == sum(summary.cost(one)["epochs"] for one in alone) / 2


def test_seeds_of_a_study_that_was_begun_draw_other_designs() -> None:
    study = small()
    begun = study.going_on(Begun(design_seeds={arm.arm_id: 1 for arm in study.arms()}))
    found = next(compare(begun, ClosedForm.of(study), [], workers=2, seeds=2))
    assert found.error is not None and found.error > 0
