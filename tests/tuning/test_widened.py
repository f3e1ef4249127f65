"""A study whose ranges were widened begins in their new part."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any

import pytest

from tests.helpers.studies import tiny_study
from tests.tuning.test_queue import make_queue, work_off
from tune_qat.study import Study
from tune_qat.training import workload
from tune_qat.tuning.earlier import earlier_spaces, spaces_of, to_json
from tune_qat.tuning.objective import Objective
from tune_qat.tuning.plan import PlannedTrial, Planner
from tune_qat.tuning.queue import StudyQueue

Row = dict[str, Any]
ARM = "lion-w4a4"


def study_of(high: float = 1e-3, *, sizes: tuple[int, int] = (16, 64), search: int = 6, **changes: Any) -> Study:
    """One arm of Lion, whose learning rate is searched from 1e-7 on."""
    space = {
        "optimizers": ["lion"],
        "learning_rate": {"low": 1e-7, "high": high},
        "batch_size": {"low": sizes[0], "high": sizes[1], "default": 32},
    }
    known = {"space": space, "quantization": {"bits": [[4, 4]]}, "training": {"epochs": 3, "init": "scratch"}}
    stages = {"default": True, "random": 2, "search": search, "retrain": 0}
    return tiny_study(**{**known, "stages": stages, **changes})


def arm_rows(study: Study, earlier: Mapping[str, Any] | None = None) -> list[Row]:
    """What a run of the study leaves in the table `arms`, as far as it is read."""
    before = {arm_id: to_json(spaces) for arm_id, spaces in (earlier or {}).items()}
    return [
        {
            "arm_id": arm.arm_id,
            "space_json": to_json(spaces_of(study, arm)),
            "earlier_space_json": before.get(arm.arm_id),
        }
        for arm in study.arms()
    ]


def queue_of(study: Study, arms: list[Row], trials: list[Row]) -> StudyQueue:
    """The queue of a run that finds these rows."""
    work = workload.load("lenet5", "digits", options=study.workload.options)
    earlier = earlier_spaces(study, arms, trials)
    return StudyQueue(Planner(study=study, work=work), trials, objective=Objective(1, 0.0), earlier=earlier)


def above(plans: list[PlannedTrial], rate: float = 1e-3) -> list[bool]:
    return [plan.config.learning_rate > rate for plan in plans]


def test_the_first_new_trials_lie_in_the_new_part_until_it_has_its_share() -> None:
    """Lion, 1e-7..1e-3: the best lay at the upper end, and no trial of the wider study came to lie above it."""
    old = study_of()
    _, rows = work_off(make_queue(old))
    wide = study_of(1e-2, search=8)
    queue = queue_of(wide, arm_rows(old), rows)
    plans, _ = work_off(queue)
    # A fifth of 1e-7..1e-2 is new: two of eight search trials. The six old ones had none there.
    assert [plan.stage for plan in plans] == ["search"] * 2 and above(plans) == [True, True]
    assert [plan.source for plan in plans] == ["random"] * 2
    more = study_of(1e-2, search=16)
    plans, _ = work_off(queue_of(more, arm_rows(old), rows))
    assert above(plans)[:4] == [True] * 4, "of 16, four are a fifth"
    assert {plan.source for plan in plans[4:]} == {"sampler"}
    again, _ = work_off(queue_of(more, arm_rows(old), rows))
    assert [plan.trial_key for plan in again] == [plan.trial_key for plan in plans]


def test_random_trials_that_are_new_lie_there_too() -> None:
    old = study_of()
    _, rows = work_off(make_queue(old))
    wide = study_of(1e-2, stages={"default": True, "random": 5, "search": 6, "retrain": 0})
    plans, _ = work_off(queue_of(wide, arm_rows(old), rows))
    assert [plan.stage for plan in plans] == ["random"] * 3
    assert above(plans)[0], "one of five is a fifth"


@pytest.mark.parametrize("design", ["random", "sobol"])
def test_no_two_random_trials_of_an_arm_have_one_number(design: str) -> None:
    """In other ranges a sequence begins anew; by number the trials stay in the order in which they were drawn."""
    stages = {"default": True, "random": 3, "search": 0, "retrain": 0, "design": design}
    old, wide = study_of(stages=stages), study_of(1e-2, stages={**stages, "random": 12})
    _, rows = work_off(make_queue(old))
    arms, begun = arm_rows(old), 5
    before, new = work_off(queue_of(wide, arms, rows), stop_after=begun)
    rest, _ = work_off(queue_of(wide, arm_rows(wide, earlier_spaces(wide, arms, rows)), rows + new))
    numbers = [row["trial_number"] for row in rows if row["stage"] == "random"]
    numbers += [plan.number for plan in [*before, *rest]]
    assert numbers == list(range(12)) and any(above(before)) and not all(above(rest))
    whole, _ = work_off(queue_of(wide, arms, rows))
    assert [plan.trial_key for plan in whole] == [plan.trial_key for plan in [*before, *rest]]


def test_a_sampler_learns_from_what_it_did_not_propose() -> None:
    old = study_of()
    _, rows = work_off(make_queue(old))
    queue = queue_of(study_of(1e-2, search=16), arm_rows(old), rows)
    work_off(queue)
    sampler = queue.arms[ARM].sampler
    assert sampler is not None
    told = [trial.params["learning_rate"] for trial in sampler._study.get_trials()]
    assert len(told) == 1 + 2 + 16 and sum(rate > 1e-3 for rate in told) >= 4


@pytest.mark.parametrize("after", range(5))
def test_a_wider_study_that_is_interrupted_knows_its_new_part(after: int) -> None:
    old = study_of()
    _, rows = work_off(make_queue(old))
    wide = study_of(1e-2, search=12)
    whole, _ = work_off(queue_of(wide, arm_rows(old), rows))
    before, new = work_off(queue_of(wide, arm_rows(old), rows), stop_after=after)
    # The row of the arm has today's ranges by now.
    arms = arm_rows(wide, earlier_spaces(wide, arm_rows(old), rows))
    rest, _ = work_off(queue_of(wide, arms, rows + new))
    assert [plan.trial_key for plan in [*before, *rest]] == [plan.trial_key for plan in whole]


def test_ranges_that_were_widened_twice() -> None:
    """The part that has no trial yet is new, also after a run that was stopped before it had begun there."""
    first, second, third = study_of(), study_of(1e-2, search=8), study_of(1e-1, search=18)
    _, rows = work_off(make_queue(first))
    arms = arm_rows(second, earlier_spaces(second, arm_rows(first), rows))
    unreached = earlier_spaces(third, arms, rows)
    assert unreached[ARM]["lion"]["learning_rate"].high == 1e-3
    _, new = work_off(queue_of(second, arm_rows(first), rows))
    reached = earlier_spaces(third, arms, rows + new)
    assert reached[ARM]["lion"]["learning_rate"].high == 1e-2
    plans, _ = work_off(queue_of(third, arms, rows + new))
    assert above(plans, 1e-2)[:3] == [True] * 3, "a sixth of 18"


@pytest.mark.parametrize(
    "wide",
    [study_of(search=9), study_of(1e-4, search=9), study_of(search=9, seed=0, max_failed_trials=3)],
    ids=["more trials", "narrower", "something else"],
)
def test_ranges_that_were_not_widened_have_no_new_part(wide: Study) -> None:
    old = study_of()
    _, rows = work_off(make_queue(old))
    plans, _ = work_off(queue_of(wide, arm_rows(old), rows))
    assert {plan.source for plan in plans if plan.stage == "search"} == {"sampler"}


def test_before_anything_was_searched_all_of_the_space_is_new() -> None:
    old, wide = study_of(), study_of(1e-2)
    _, rows = work_off(make_queue(old), stop_after=1)
    assert [row["stage"] for row in rows] == ["default"]
    assert earlier_spaces(wide, arm_rows(old), rows) == {}
    assert earlier_spaces(wide, [], rows) == {}, "a record without its arms"
    old_rows = [{name: row[name] for name in ("arm_id", "space_json")} for row in arm_rows(old)]
    assert earlier_spaces(old, old_rows, rows) == {}, "of a version that did not keep them"


def test_batch_sizes_and_options_have_a_new_part_as_well() -> None:
    def with_beta(high: float, **changes: Any) -> Study:
        known = study_of(**changes)
        own = {"lion": {"beta1": {"low": 0.5, "high": high}}}
        return Study.model_validate({**known.model_dump(), "space": {**known.space.model_dump(), "per_optimizer": own}})

    old = with_beta(0.9)
    _, rows = work_off(make_queue(old))
    plans, _ = work_off(queue_of(with_beta(0.99, search=12), arm_rows(old), rows))
    assert plans[0].values["beta1"] > 0.9
    plans, _ = work_off(queue_of(with_beta(0.9, search=12, sizes=(16, 256)), arm_rows(old), rows))
    assert [plan.config.batch_size in (128, 256) for plan in plans[:5]] == [True] * 5, "two of five, of 12"


def test_trials_of_arms_that_have_no_new_part_are_proposed_as_ever() -> None:
    def both(high: float, search: int) -> Study:
        known = study_of(search=search)
        own = {"lion": {"learning_rate": {"low": 1e-7, "high": high}}}
        space = {"optimizers": ["lion", "adam"], "batch_size": {"low": 16, "high": 64}, "per_optimizer": own}
        return Study.model_validate({**known.model_dump(), "space": space})

    old = both(1e-3, 6)
    _, rows = work_off(make_queue(old))
    plans, _ = work_off(queue_of(both(1e-2, 8), arm_rows(old), rows))
    assert Counter((plan.arm_id, plan.source) for plan in plans) == {(ARM, "random"): 2, ("adam-w4a4", "sampler"): 2}


def test_a_new_part_of_a_joint_search_is_that_of_the_optimizer_that_has_grown() -> None:
    def joint(high: float, search: int) -> Study:
        own = {"lion": {"learning_rate": {"low": 1e-7, "high": high}}}
        space = {"optimizers": ["lion", "adam"], "batch_size": {"low": 16, "high": 64}, "per_optimizer": own}
        known = study_of(search=search)
        return Study.model_validate({**known.model_dump(), "mode": "joint", "space": space})

    old = joint(1e-3, 6)
    _, rows = work_off(make_queue(old))
    plans, _ = work_off(queue_of(joint(1e-2, 10), arm_rows(old), rows))
    assert plans[0].config.optimizer == "lion" and above(plans)[0], "a tenth of the space of both, one of ten"
    assert {plan.source for plan in plans[1:]} == {"sampler"}


def test_the_row_of_an_arm_is_written_and_read_as_it_was() -> None:
    study = study_of(1e-2, sizes=(8, 64))
    earlier = {ARM: spaces_of(study_of(), study_of().arms()[0])}
    rows = arm_rows(study, earlier)
    _, trials = work_off(make_queue(study_of()))
    assert earlier_spaces(study, rows, trials) == earlier
    assert json.loads(rows[0]["earlier_space_json"])["lion"]["learning_rate"] == {
        "low": 1e-7,
        "high": 1e-3,
        "log": True,
    }
