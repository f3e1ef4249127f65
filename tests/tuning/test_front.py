"""The front that an arm chooses, against a slow plain twin: every trial compared with every other."""

import itertools
import random
from types import SimpleNamespace
from typing import Any

import pytest

from tune_qat.tuning.finalists import Done
from tune_qat.tuning.front import Front, spread
from tune_qat.tuning.objective import Objective
from tune_qat.tuning.objectives import Objectives

ACCURACY = Objective(sign=1, worst=0.0, trivial=0.1)
ERROR = Objective(sign=-1, worst=2.0, trivial=0.9)
Costs = tuple[float, ...]


def objectives(*schemes: Costs) -> Objectives:
    names = tuple("abc"[: len(schemes[0])])
    table: Any = {number: dict(zip(names, costs, strict=True)) for number, costs in enumerate(schemes)}
    return Objectives(costs=names, place=0, by_scheme=table)


def done(number: int, scheme: int, metric: float | None, *, stage: str = "search", status: str = "completed") -> Done:
    plan: Any = SimpleNamespace(
        stage=stage, trial_key=f"{number:04}", config=SimpleNamespace(config_id=f"c{number}", scheme=scheme)
    )
    return plan, {"status": status, "val_metric": metric}


def front(trials: list[Done], traded: Objectives, *, count: int = 100, objective: Objective = ACCURACY) -> Front:
    found = Front(objective, traded, count=count)
    for plan, row in trials:
        found.note(plan, row)
    return found


def names(found: list[Done]) -> list[str]:
    return [plan.trial_key for plan, _ in found]


def nondominated(trials: list[Done], traded: Objectives, sign: int) -> set[str]:
    """Of the trials those that none is as good as in everything and better than in something."""

    def losses(one: Done) -> list[float]:
        return [-sign * one[1]["val_metric"], *traded.cost_of(one[0].config.scheme)]

    def beats(one: Done, other: Done) -> bool:
        mine, its = losses(one), losses(other)
        return all(a <= b for a, b in zip(mine, its, strict=True)) and mine != its

    return {one[0].trial_key for one in trials if not any(beats(other, one) for other in trials)}


@pytest.mark.parametrize(("objective", "sign"), [(ACCURACY, 1), (ERROR, -1)])
@pytest.mark.parametrize("costs", [1, 2, 3])
def test_the_front_is_that_of_the_plain_twin_in_any_order(objective: Objective, sign: int, costs: int) -> None:
    generator = random.Random(costs)
    for _ in range(20):
        traded = objectives(*(tuple(float(generator.randint(1, 9)) for _ in range(costs)) for _ in range(6)))
        count = generator.randint(1, 40)
        trials = [done(number, generator.randrange(6), generator.uniform(0.2, 0.8)) for number in range(count)]
        expected = nondominated(trials, traded, sign)
        for _ in range(3):
            generator.shuffle(trials)
            found = front(trials, traded, objective=objective)
            assert set(names(found.points)) == expected
            metrics = [sign * row["val_metric"] for _, row in found.points]
            assert metrics == sorted(metrics, reverse=True)
            assert found.best is not None and sign * found.best[1]["val_metric"] == max(metrics)


def test_of_trials_that_are_alike_one_stays_whatever_the_order() -> None:
    traded = objectives((5.0,), (5.0,), (7.0,))
    trials = [done(1, 0, 0.5), done(2, 1, 0.5), done(3, 2, 0.5)]
    for order in itertools.permutations(trials):
        assert names(front([*order], traded).points) == ["0002"]


def test_what_counts_for_a_front() -> None:
    traded = objectives((1.0,), (2.0,), (3.0,))
    trials = [
        done(1, 0, 0.1),  # no better than the constant predictor, though the cheapest
        done(2, 1, None, status="diverged"),
        done(3, 1, 0.4, status="stopped"),
        done(4, 2, 0.6),
        done(5, 1, 0.9, stage="retrain"),
    ]
    assert names(front(trials, traded).points) == ["0004"]
    assert names(front(trials[:3], traded).points) == ["0001"], "where no trial is better, there is no other choice"
    assert front(trials[1:3], traded).best is None and front(trials[1:3], traded).chosen == []


def test_a_few_points_are_spread_over_the_front_and_keep_its_ends() -> None:
    points = [(0.0, 100.0), (1.0, 90.0), (1.1, 89.0), (5.0, 50.0), (9.0, 11.0), (9.5, 10.0), (10.0, 0.0)]
    assert spread(points, 7) == [0, 1, 2, 3, 4, 5, 6]
    assert spread(points, 4)[0] == 0 and spread(points, 4)[-1] == 6
    assert spread(points, 3) == [0, 3, 6], "the middle one, which stands alone"
    assert spread(points, 1) == [0], "the best metric is the last to go"
    assert spread([], 3) == []


def test_the_chosen_are_the_spread_points_the_best_metric_first() -> None:
    traded = objectives(*((float(cost),) for cost in range(1, 8)))
    trials = [done(cost, cost - 1, 0.2 + 0.1 * cost) for cost in range(1, 8)]
    chosen = front(trials, traded, count=3).chosen
    assert names(chosen)[0] == "0007" and names(chosen)[-1] == "0001" and len(chosen) == 3
