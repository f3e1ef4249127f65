"""The sampler of an arm: its space, its history and its seeds."""

import math
from itertools import islice
from typing import Any

import pytest

from tests.helpers.studies import tiny_study
from tune_qat.config import Range
from tune_qat.tuning.points import random_points
from tune_qat.tuning.sampler import ArmSampler

SPACES = {
    "adam": {"learning_rate": Range(low=1e-5, high=1e-1), "batch_size": Range(low=8, high=64)},
    "nesterov": {
        "learning_rate": Range(low=1e-4, high=1.0),
        "batch_size": Range(low=8, high=64),
        "momentum": Range(low=0.5, high=0.99, log=False),
    },
}


def sampler(names: tuple[str, ...] = ("adam",), *, kind: str = "tpe", seed: int = 0, history: Any = ()) -> ArmSampler:
    spaces = {name: SPACES[name] for name in names}
    return ArmSampler(spaces, sampler=kind, seed=seed, startup_trials=3, history=history)


def score(values: dict[str, float]) -> float:
    return -abs(math.log10(values["learning_rate"]) + 3)


def proposals(one: ArmSampler, count: int, *, first: int = 0) -> list[tuple[str, dict[str, float]]]:
    found = []
    for index in range(first, count):
        optimizer, values = one.propose(str(index))
        found.append((optimizer, values))
        one.tell(str(index), [score(values)])
    return found


@pytest.mark.parametrize("kind", ["tpe", "random"])
@pytest.mark.parametrize("names", [("adam",), ("nesterov",), ("adam", "nesterov")])
def test_proposals_lie_within_the_optimizers_own_ranges(kind: str, names: tuple[str, ...]) -> None:
    for optimizer, values in proposals(sampler(names, kind=kind), 25):
        assert optimizer in names
        assert set(values) == set(SPACES[optimizer])
        for name, value in values.items():
            assert SPACES[optimizer][name].low <= value <= SPACES[optimizer][name].high
        assert values["batch_size"] in (8, 16, 32, 64)
        assert isinstance(values["batch_size"], int)


def test_the_same_seed_proposes_the_same_one_after_another() -> None:
    assert proposals(sampler(seed=3), 12) == proposals(sampler(seed=3), 12)
    assert proposals(sampler(seed=3), 12) != proposals(sampler(seed=4), 12)


def test_tpe_learns_from_what_it_is_told() -> None:
    found = proposals(sampler(), 40)
    late = [abs(math.log10(values["learning_rate"]) + 3) for _, values in found[25:]]
    # The range spans 4 decades; random search would be 1 away from the best on average.
    assert sum(late) / len(late) < 0.6


@pytest.mark.parametrize("kind", ["tpe", "random"])
@pytest.mark.parametrize("names", [("adam",), ("adam", "nesterov")])
def test_a_sampler_that_begins_with_a_history_goes_on_as_if_it_had_proposed_it(
    kind: str, names: tuple[str, ...]
) -> None:
    whole = proposals(sampler(names, kind=kind), 30)
    known = [(optimizer, values, [score(values)]) for optimizer, values in whole[:17]]
    again = sampler(names, kind=kind, history=known)
    assert proposals(again, 30, first=17) == whole[17:]
    assert len({values["learning_rate"] for _, values in whole}) == 30


def test_history_of_a_joint_arm_names_the_optimizer() -> None:
    one = sampler(
        ("adam", "nesterov"), history=[("nesterov", {"learning_rate": 0.1, "batch_size": 8, "momentum": 0.9}, [1.0])]
    )
    one.add("adam", {"learning_rate": 1e-3, "batch_size": 64}, [0.5])
    assert {optimizer for optimizer, _ in proposals(one, 20)} == {"adam", "nesterov"}


def test_a_failed_proposal_does_no_harm() -> None:
    one = sampler()
    one.propose("lost")
    one.tell("lost", None)
    assert len(proposals(one, 5)) == 5


def test_random_points_are_uniform_on_each_axis() -> None:
    dimensions = tiny_study().dimensions("sgd_clip")
    points = list(islice(random_points(dimensions, seed=0), 2_000))
    rates = [math.log10(point["learning_rate"]) for point in points]
    # Uniform on -4..0: mean -2, standard error 1.155 / sqrt(2000) = 0.026; six of them.
    assert abs(sum(rates) / len(rates) + 2) < 6 * 0.026
    assert {point["batch_size"] for point in points} == {16, 32, 64}
