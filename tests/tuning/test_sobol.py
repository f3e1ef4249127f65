"""Scrambled Sobol points: strata, prefixes, seeds, and what they are in a queue."""

import math
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from typing import Any

import numpy as np
import pytest
from scipy.stats import qmc

from tests.helpers.studies import tiny_study
from tests.tuning.test_queue import make_queue, work_off
from tests.tuning.test_widened import ARM, arm_rows, queue_of, study_of
from tune_qat.config import SEEDS, Range, stable_hash
from tune_qat.study import Study
from tune_qat.study.space import Dimensions
from tune_qat.tuning.plan import PlannedTrial
from tune_qat.tuning.points import random_sequence
from tune_qat.tuning.sobol import SobolDesign

SPACE: Dimensions = {
    "learning_rate": Range(low=1e-5, high=1e-1),
    "batch_size": Range(low=8, high=64),
    "momentum": Range(low=0.5, high=0.9, log=False),
    "bits": Range(low=0, high=3, log=False),
}
PRODIGY: Dimensions = {"batch_size": Range(low=8, high=64)}


def sobol(count: int, seed: int = 0, space: Dimensions = SPACE, optimizer: str = "sgd") -> list[dict[str, float]]:
    return list(islice(SobolDesign({optimizer: space}, seed).points(optimizer), count))


def axis(points: Sequence[dict[str, float]], name: str) -> np.ndarray:
    """Positions on the dimension's axis, from 0 to 1; a whole number stands in the middle of its part."""
    values, bounds = np.array([point[name] for point in points]), SPACE[name]
    if name in ("batch_size", "bits"):
        steps = np.log2(values / bounds.low) if name == "batch_size" else values - bounds.low
        count = (math.log2(bounds.high / bounds.low) if name == "batch_size" else bounds.high - bounds.low) + 1
        return np.asarray((steps + 0.5) / count)
    if bounds.log:
        return np.asarray(np.log(values / bounds.low) / math.log(bounds.high / bounds.low))
    return np.asarray((values - bounds.low) / (bounds.high - bounds.low))


class TestPoints:
    @pytest.mark.parametrize("seed", range(5))
    @pytest.mark.parametrize("begin", [0, 16, 48])
    def test_each_of_16_parts_of_every_axis_has_one_of_16_points(self, seed: int, begin: int) -> None:
        points = sobol(begin + 16, seed)[begin:]
        for name in ("learning_rate", "momentum"):
            assert sorted(np.floor(16 * axis(points, name)).astype(int)) == list(range(16)), name
        assert Counter(point["batch_size"] for point in points) == {8: 4, 16: 4, 32: 4, 64: 4}
        assert Counter(point["bits"] for point in points) == {0: 4, 1: 4, 2: 4, 3: 4}

    def test_random_draws_do_not(self) -> None:
        found = []
        for seed in range(5):
            points = [values for _, values in islice(random_sequence({"sgd": SPACE}, 16, seed), 16)]
            found.append(len(set(np.floor(16 * axis(points, "learning_rate")).astype(int))))
        assert max(found) < 16

    def test_two_axes_together_are_filled_more_evenly_than_by_draws(self) -> None:
        def discrepancy(points: Sequence[dict[str, float]]) -> float:
            return float(
                qmc.discrepancy(np.stack([axis(points, one) for one in ("learning_rate", "momentum")], axis=1))
            )

        spread = [discrepancy(sobol(32, seed)) for seed in range(10)]
        drawn = [
            discrepancy([values for _, values in islice(random_sequence({"sgd": SPACE}, 32, seed), 32)])
            for seed in range(10)
        ]
        # The worst of ten designs is better than the best of ten drawn ones.
        assert max(spread) < min(drawn)

    def test_they_are_scipys_sequence_from_its_first_point_on(self) -> None:
        """The sampler of Optuna draws the first trial of a study at random, and would begin with the second."""
        space: Dimensions = {"learning_rate": SPACE["learning_rate"], "momentum": SPACE["momentum"]}
        found = np.stack([axis(sobol(16, 3, space), name) for name in space], axis=1)
        seed = int(stable_hash([3, "sgd"]), 16) % SEEDS
        expected = qmc.Sobol(2, seed=seed).random(16)
        assert found == pytest.approx(expected, abs=1e-12)  # through a logarithm and back

    def test_a_shorter_sequence_is_the_beginning_of_a_longer_one(self) -> None:
        assert sobol(8) == sobol(16)[:8]
        assert sobol(1) == sobol(16)[:1]

    def test_where_one_arm_searches_says_nothing_of_another(self) -> None:
        """Also of arms whose seeds are next to each other, and of two optimizers with the same seed."""
        arms = [axis(sobol(4, seed), "learning_rate") for seed in range(101)]
        others = [axis(sobol(4, seed, optimizer="adam"), "learning_rate") for seed in range(100)]
        assert len({tuple(one) for one in [*arms, *others]}) == 201
        for number in range(4):
            own = [one[number] for one in arms]
            for other in (own[1:], [one[number] for one in others]):
                # Of 100 independent pairs a correlation has a standard error of 1 / 10.
                assert abs(np.corrcoef(own[:100], other)[0, 1]) < 6 / 10

    def test_the_first_point_is_anywhere_on_an_axis(self) -> None:
        first = [axis(sobol(1, seed), "learning_rate")[0] for seed in range(64)]
        counts = np.histogram(first, bins=4, range=(0, 1))[0]
        # Binomial, 64 draws of 1 in 4: a standard deviation is 3.5.
        assert np.abs(counts - 16).max() < 6 * 3.5

    def test_values_lie_inside_of_the_ranges_also_where_one_is_a_single_value(self) -> None:
        narrow: Dimensions = {**SPACE, "batch_size": Range(low=8, high=8)}
        for point in sobol(64, 1, narrow):
            assert all(bounds.low <= point[name] <= bounds.high for name, bounds in narrow.items())

    def test_optimizers_take_turns_and_each_keeps_its_whole_sequence(self) -> None:
        design = SobolDesign({"sgd": SPACE, "adam": SPACE}, 0)
        drawn = list(islice(design.sequence(), 32))
        assert [name for name, _ in drawn] == ["sgd", "adam"] * 16
        assert [values for name, values in drawn if name == "adam"] == sobol(16, optimizer="adam")
        assert drawn == list(islice(design.sequence(), 32)), "a second reading is the same"

    def test_a_finite_space_ends_with_all_of_its_points(self) -> None:
        found = sobol(10**6, space=PRODIGY, optimizer="prodigy")
        assert sorted(point["batch_size"] for point in found[:4]) == [8, 16, 32, 64]
        assert [point["batch_size"] for point in found[-4:]] == [8, 16, 32, 64] and len(found) == 4 * 4 + 4
        design = SobolDesign({"prodigy": PRODIGY, "sgd": SPACE}, 0)
        assert [name for name, _ in islice(design.sequence(), 60)] == ["prodigy", "sgd"] * 20 + ["sgd"] * 20


def sobol_study(random: int = 8, **changes: Any) -> Study:
    stages = {"default": True, "random": random, "search": 1, "retrain": 0, "design": "sobol"}
    known: dict[str, Any] = {"quantization": {"bits": [[4, 4]]}, "training": {"epochs": 3, "init": "scratch"}}
    return tiny_study(**{**known, "stages": stages, **changes})


def drawn(plans: list[PlannedTrial], arm: str = "adam-w4a4") -> list[PlannedTrial]:
    return [plan for plan in plans if plan.stage == "random" and plan.arm_id == arm]


class TestInAStudy:
    def test_the_random_stage_is_the_arms_own_sequence_and_says_so(self) -> None:
        study = sobol_study()
        plans, _ = work_off(make_queue(study))
        dimensions = study.dimensions("adam")
        expected = sobol(8, study.design_seed(study.arms()[0]), dimensions, "adam")
        assert [dict(plan.values) for plan in drawn(plans)] == expected
        assert {plan.source for plan in plans if plan.stage == "random"} == {"sobol"}
        assert [plan.values for plan in drawn(plans)] != [plan.values for plan in drawn(plans, "sgd_clip-w4a4")]
        without = tiny_study(**{**study.model_dump(), "stages": {"random": 8, "search": 1, "retrain": 0}})
        plain, _ = work_off(make_queue(without))
        assert {plan.source for plan in plain if plan.stage == "random"} == {"random"}
        assert not {plan.trial_key for plan in drawn(plain)} & {plan.trial_key for plan in drawn(plans)}

    @pytest.mark.parametrize("cut", [1, 4, 9, 15])
    def test_an_interrupted_study_proposes_the_same(self, cut: int) -> None:
        whole, _ = work_off(make_queue(sobol_study()))
        before, rows = work_off(make_queue(sobol_study()), stop_after=cut)
        after, _ = work_off(make_queue(sobol_study(), rows))
        assert [plan.trial_key for plan in [*before, *after]] == [plan.trial_key for plan in whole]

    def test_more_trials_go_on_with_the_sequence(self) -> None:
        few, rows = work_off(make_queue(sobol_study(8)))
        more, _ = work_off(make_queue(sobol_study(16), rows))
        whole, _ = work_off(make_queue(sobol_study(16)))
        keys = [plan.trial_key for plan in drawn(whole)]
        assert [plan.trial_key for plan in drawn(few)] == keys[:8]
        assert [plan.trial_key for plan in drawn(more)] == keys[8:]

    def test_a_wider_range_begins_in_its_new_part_with_points_of_its_sequence(self) -> None:
        stages = {"default": True, "random": 16, "search": 0, "retrain": 0, "design": "sobol"}
        before = study_of(stages=stages)
        _, rows = work_off(queue_of(before, [], []))
        wide = study_of(1e-1, stages={**stages, "random": 32})  # 4 decades become 6
        queue = queue_of(wide, arm_rows(before), rows)
        plans, _ = work_off(queue)
        rates = [plan.config.learning_rate for plan in plans]
        # A third of 32, rounded up, lies in the new part, and these are first.
        assert [rate > 1e-3 for rate in rates[:11]] == [True] * 11
        points = sobol(200, wide.design_seed(wide.arms()[0]), wide.dimensions("lion"), "lion")
        new = [point["learning_rate"] for point in points if point["learning_rate"] > 1e-3]
        assert rates[:11] == new[:11]
        assert len(plans) == 16 and queue.arms[ARM].ended("random") == 32

    def test_joint_search_has_a_sequence_for_each_optimizer_and_bits_are_an_axis(self) -> None:
        bits = {"bits": [[2, 2], [4, 4], [8, 8]], "search_bits": True}
        study = sobol_study(32, mode="joint", quantization=bits)
        plans = [plan for plan in work_off(make_queue(study))[0] if plan.stage == "random"]
        counts = Counter((plan.config.optimizer, plan.config.scheme.weight_bits) for plan in plans)
        # 16 of each optimizer over three parts: five or six of each.
        assert set(counts.values()) == {5, 6} and len(counts) == 6

    def test_a_finite_space_is_used_up(self) -> None:
        sizes = {"low": 16, "high": 64}
        space = {"optimizers": ["prodigy"], "batch_size": sizes, "fixed": {"prodigy": {"d_coef": 1.0}}}
        study = sobol_study(9, space=space)
        whole = study.points(study.arms()[0])
        plans, rows = work_off(make_queue(study))
        assert whole is not None and len(drawn(plans, "prodigy-w4a4")) == len(whole) == 3
        assert make_queue(study, rows).next() is None

    def test_an_unknown_design_is_named(self) -> None:
        with pytest.raises(ValueError, match=r"design"):
            sobol_study(stages={"random": 2, "search": 1, "design": "halton"})
