"""Search spaces with few points: they are used up, and the study goes on and ends."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.studies import tiny_study
from tests.tuning.test_queue import make_queue, row_of, work_off
from tune_qat.cli.plan_text import describe
from tune_qat.simulate.formula import ClosedForm
from tune_qat.simulate.loop import simulate
from tune_qat.study import Study
from tune_qat.study.used_up import used_up
from tune_qat.tuning import arm_choices
from tune_qat.tuning.sampler import ArmSampler

FIXED = {"prodigy": {"d_coef": 1.0}}


def study_of(*optimizers: str, low: int = 16, high: int = 64, **changes: Any) -> Study:
    """One arm of optimizers of which prodigy searches nothing but the batch size: 3 points."""
    space = {"optimizers": [*optimizers], "batch_size": {"low": low, "high": high}, "fixed": FIXED}
    known = {"space": space, "quantization": {"bits": [[4, 4]]}, "training": {"epochs": 3, "init": "scratch"}}
    return tiny_study(**{**known, "mode": "joint" if len(optimizers) > 1 else "comparison", **changes})


def stages(**counts: int) -> dict[str, Any]:
    return {"default": True, "random": 0, "search": 0, "retrain": 2, **counts}


@pytest.mark.parametrize(
    ("asked", "run"),
    [
        ({"search": 8}, {"search": 3}),
        ({"random": 8}, {"random": 3}),
        ({"random": 8, "search": 2}, {"random": 3, "search": 2}),
        ({"random": 2, "search": 8}, {"random": 2, "search": 3}),
    ],
)
def test_a_used_up_space_ends_the_stage_and_retrain_follows(asked: dict[str, int], run: dict[str, int]) -> None:
    study = study_of("prodigy", stages=stages(**asked))
    queue = make_queue(study)
    plans, rows = work_off(queue)
    assert Counter(plan.stage for plan in plans) == {"default": 1, **run, "retrain": 2}
    for stage in run:
        sizes = [plan.config.batch_size for plan in plans if plan.stage == stage]
        assert len(set(sizes)) == len(sizes), "no point twice"
    assert queue.finished and queue.left() == queue.remaining() == 0
    again = make_queue(study, rows)
    assert again.next() is None and again.finished and again.remaining() == 0


def test_a_stage_gets_its_trials_although_random_points_repeat() -> None:
    study = study_of("prodigy", low=1, high=64, stages=stages(random=6))
    plans, _ = work_off(make_queue(study))
    sizes = [plan.config.batch_size for plan in plans if plan.stage == "random"]
    assert len(set(sizes)) == len(sizes) == 6
    numbers = [plan.number for plan in plans if plan.stage == "random"]
    assert sorted(set(numbers)) == numbers


@pytest.mark.parametrize("done", range(8))
def test_a_study_that_goes_on_in_a_used_up_space_does_the_rest(done: int) -> None:
    study = study_of("prodigy", stages=stages(random=2, search=8))
    before, rows = work_off(make_queue(study), stop_after=done)
    after, _ = work_off(make_queue(study, rows))
    counts = Counter(plan.stage for plan in [*before, *after])
    assert counts == {"default": 1, "random": 2, "search": 3, "retrain": 2}


def test_points_that_are_running_are_used() -> None:
    queue = make_queue(study_of("prodigy", stages={**stages(search=8), "default": False}))
    running = [queue.next() for _ in range(4)]
    assert [plan is None for plan in running] == [False, False, False, True] and not queue.finished
    for plan in running[:3]:
        assert plan is not None
        queue.ended(plan, row_of(plan))
    follow = queue.next()
    assert follow is not None and follow.stage == "retrain"


def test_searched_bits_are_points_and_a_continuous_dimension_has_no_end_of_them() -> None:
    bits = {"bits": [[2, 2], [4, 4], [8, 8]], "search_bits": True}
    study = study_of("prodigy", mode="joint", quantization=bits, stages=stages(random=4, search=30))
    plans, _ = work_off(make_queue(study))
    points = {(p.config.batch_size, p.config.scheme.label) for p in plans if p.stage == "search"}
    assert len(points) == 9 and Counter(plan.stage for plan in plans)["search"] == 9
    (one,) = study_of("adam", "prodigy").arms()
    assert study_of("adam", "prodigy").points(one) is None


def test_beside_an_optimizer_without_an_end_of_points_the_plan_is_met() -> None:
    study = study_of("adam", "prodigy", stages=stages(random=12, search=12))
    queue = make_queue(study)
    plans, _ = work_off(queue)
    assert Counter(plan.stage for plan in plans) == {"default": 2, "random": 12, "search": 12, "retrain": 2}
    assert len({plan.trial_key for plan in plans}) == len(plans) and queue.remaining() == 0
    assert used_up(study) == []


class Repeating:
    """A sampler that proposes one point for ever, whatever it is told."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        self.told: list[float | None] = []

    def propose(self, name: str) -> tuple[str, dict[str, float]]:
        return "prodigy", {"batch_size": 32}

    def tell(self, name: str, objective: float | None) -> None:
        self.told.append(objective)

    def add(self, optimizer: str, values: Any, objective: float) -> None:
        pass


@pytest.mark.parametrize("others", [(), ("adam",)])
def test_where_a_sampler_only_repeats_itself_another_point_is_taken(
    others: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(arm_choices, "ArmSampler", Repeating)
    study = study_of("prodigy", *others, stages=stages(search=3))
    plans, rows = work_off(make_queue(study))
    searched = [plan for plan in plans if plan.stage == "search"]
    assert len({plan.trial_key for plan in searched}) == len(searched) == 3
    assert [plan.source for plan in searched] == ["sampler", "random", "random"]
    repeated, _ = work_off(make_queue(study))
    assert [plan.trial_key for plan in repeated] == [plan.trial_key for plan in plans], "the same each time"


def test_a_sampler_knows_a_trial_once_and_a_failed_one_not_at_all() -> None:
    queue = make_queue(study_of("prodigy", stages=stages(search=3)))
    metrics = iter([0.5, 0.6, None, 0.7])
    while (plan := queue.next()) is not None:
        metric = next(metrics, 0.8)
        queue.ended(plan, row_of(plan, status="error" if metric is None else "completed", metric=metric))
    (state,) = queue.arms.values()
    assert isinstance(state.sampler, ArmSampler)
    assert sorted(trial.value for trial in state.sampler._study.get_trials() if trial.value) == [0.5, 0.6, 0.7]


def test_an_arm_without_a_completed_trial_leaves_nothing_behind() -> None:
    queue = make_queue(tiny_study(training={"epochs": 3, "init": "scratch"}))
    while (plan := queue.next()) is not None:
        queue.ended(plan, row_of(plan, status="diverged", metric=None))
    assert queue.finished and queue.left() == queue.remaining() == 0


def test_before_it_runs_a_study_says_so(tmp_path: Path) -> None:
    study = study_of("prodigy", stages=stages(random=8, search=5))
    sentence = "The space of prodigy has 3 points, all used by 3 of 8 random and 3 of 5 search trials."
    assert used_up(study) == [sentence]
    said = describe(study, tmp_path / "nothing")
    assert sentence in said and "cost: 9 trials" in said
    one = study_of("prodigy", low=16, high=16, stages=stages(search=2))
    assert used_up(one) == ["The space of prodigy has 1 point, all used by 1 of 2 search trials."]


def test_a_simulation_ends() -> None:
    study = study_of("prodigy", stages=stages(random=2, search=8))
    done = simulate(study, ClosedForm.of(study), workers=2)
    assert done.queue.finished
    assert Counter(run.plan.stage for run in done.runs) == {"default": 1, "random": 2, "search": 3, "retrain": 2}


def test_what_quantizers_are_trained_at_is_no_dimension_of_an_arm_without_them() -> None:
    """Its trials have a factor of 1, whatever the range: none of them was in a range below that."""
    multiplier = {"low": 0.01, "high": 0.5}
    space = {"optimizers": ["adam"], "batch_size": {"low": 16, "high": 64}, "quantizer_lr_multiplier": multiplier}
    study = study_of("adam", space=space, quantization={"bits": [[32, 32], [4, 4]]})
    plans, rows = work_off(make_queue(study))
    searched = {plan.arm_id: set(plan.values) for plan in plans if plan.stage == "search"}
    assert searched["adam-w4a4"] - searched["adam-w32a32"] == {"quantizer_lr_multiplier"}
    again = make_queue(study, rows)
    assert again.next() is None and again.finished
