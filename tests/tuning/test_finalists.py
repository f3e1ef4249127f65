"""The choice of a configuration by the mean of its runs: the rule itself, and the stage in a queue without Ray."""

import itertools
from collections import Counter
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.helpers.studies import tiny_study
from tests.tuning.test_queue import INIT, make_queue, row_of, work_off
from tune_qat.study import Study
from tune_qat.study.cost import stage_epochs
from tune_qat.tuning.finalists import Done, Selection
from tune_qat.tuning.misfits import misfits
from tune_qat.tuning.objective import Objective
from tune_qat.tuning.plan import PlannedTrial
from tune_qat.tuning.queue import StudyQueue

TRIVIAL = 0.1
ACCURACY = Objective(sign=1, worst=0.0, trivial=TRIVIAL)
SEEDS = (5_000, 5_001)
LATER = ("finalists", "retrain")


def done(config: str, metric: float | None, *, stage: str = "search", seed: int = 0, status: str = "completed") -> Done:
    plan: Any = SimpleNamespace(
        stage=stage, trial_key=f"{config}/{stage}/{seed}", config=SimpleNamespace(config_id=config, seed=seed)
    )
    return plan, {"status": status, "val_metric": metric}


def runs(config: str, *metrics: float | None) -> list[Done]:
    """Finalist's runs with one seed after the other; None: diverged."""
    return [
        done(config, one, stage="finalists", seed=seed, status="completed" if one is not None else "diverged")
        for seed, one in zip(SEEDS, metrics, strict=False)
    ]


def selection(*trials: Done, count: int = 2, objective: Objective = ACCURACY) -> Selection:
    found = Selection(objective, count=count, seeds=SEEDS)
    for plan, row in trials:
        found.note(plan, row)
    return found


def chosen(found: Selection) -> str | None:
    return found.best and found.best[0].config.config_id


class TestTheRule:
    LUCKY, STEADY, WORSE = done("lucky", 0.9), done("steady", 0.8), done("worse", 0.7)

    def test_a_lucky_best_trial_is_found_out_by_its_further_runs(self) -> None:
        again = [*runs("lucky", 0.6, 0.6), *runs("steady", 0.8, 0.8)]
        assert chosen(selection(self.LUCKY, self.STEADY, self.WORSE)) == "lucky"
        assert chosen(selection(self.LUCKY, self.STEADY, self.WORSE, *again)) == "steady"
        assert chosen(selection(self.LUCKY, self.STEADY, self.WORSE, *again, count=0)) == "lucky"

    def test_the_searched_trial_is_one_of_the_mean(self) -> None:
        # 0.9 + 0.75 + 0.78 is more than three times 0.8, and 0.75 + 0.78 less than twice as much.
        assert chosen(selection(self.LUCKY, self.STEADY, *runs("lucky", 0.75, 0.78), *runs("steady", 0.8, 0.8))) == (
            "lucky"
        )

    def test_where_a_smaller_metric_is_better(self) -> None:
        error = Objective(sign=-1, worst=10.0, trivial=5.0)
        trials = [done("a", 1.0), done("b", 1.1), done("c", 9.0), *runs("a", 3.0, 3.0), *runs("b", 1.1, None)]
        found = selection(*trials, objective=error)
        assert [plan.config.config_id for plan, _ in found.finalists] == ["a", "b"]
        assert chosen(found) == "a"  # 7 / 3, and 1.1 + 1.1 + 5 over 3

    @pytest.mark.parametrize(
        "collapsed",
        [
            (0.05, "completed"),
            (TRIVIAL, "completed"),
            (None, "diverged"),
            (None, "oom"),
            (None, "error"),
            (0.9, "stopped"),
        ],
    )
    def test_a_run_that_has_not_learned_counts_as_the_constant_predictor(
        self, collapsed: tuple[float | None, str]
    ) -> None:
        metric, status = collapsed
        again = done("lucky", metric, stage="finalists", seed=SEEDS[1], status=status)
        # The mean of 0.9, 0.85 and 0.1, the constant predictor's, is 0.6167.
        for other, expected in ((0.616, "lucky"), (0.617, "steady")):
            steady = [done("steady", other), *runs("steady", other, other)]
            assert chosen(selection(self.LUCKY, *runs("lucky", 0.85), again, *steady)) == expected

    def test_nothing_is_chosen_by_runs_that_have_not_all_ended(self) -> None:
        some = [*runs("lucky", 0.2), *runs("steady", 0.8)]
        assert chosen(selection(self.LUCKY, self.STEADY, *some)) == "lucky"
        assert chosen(selection(self.LUCKY, self.STEADY, *some, *runs("steady", 0.8, 0.8))) == "steady"

    def test_runs_of_what_is_no_finalist_any_more_do_not_count(self) -> None:
        again = [*runs("worse", 0.99, 0.99), *runs("lucky", 0.5, 0.5), *runs("steady", 0.6, 0.6)]
        assert chosen(selection(self.WORSE, self.LUCKY, *again)) == "worse"
        assert chosen(selection(self.WORSE, self.LUCKY, self.STEADY, *again)) == "steady"

    def test_the_order_of_ends_does_not_matter_and_the_key_breaks_ties(self) -> None:
        trials = [done("a", 0.8), done("b", 0.8), done("c", 0.8), *runs("b", 0.7, 0.7), *runs("c", 0.7, 0.7)]
        for order in itertools.permutations(trials):
            found = selection(*order)
            assert [plan.config.config_id for plan, _ in found.finalists] == ["c", "b"]
            assert chosen(found) == "c"

    def test_a_configuration_that_two_stages_have_tried_is_one_finalist(self) -> None:
        found = selection(done("a", 0.9, stage="default"), done("a", 0.9), done("b", 0.5), done("c", 0.4))
        assert [plan.config.config_id for plan, _ in found.finalists] == ["a", "b"]

    def test_nothing_completed_leaves_nothing_to_choose(self) -> None:
        found = selection(done("a", None, status="diverged"), done("b", 0.9, status="stopped"))
        assert found.best is None and found.finalists == []

    def test_the_mean_chooses_what_is_better_in_truth(self) -> None:
        """Configurations whose true values and noise are known; the best trial is chosen beside the best mean."""
        random, studies = np.random.default_rng(0), 400
        truth = random.normal(0.5, 0.02, (studies, 24))
        values = truth[..., None] + random.normal(0, 0.02, (studies, 24, 3))
        found: dict[int, list[float]] = {0: [], 3: []}
        for number in range(studies):
            for count in found:
                trials = [done(f"{at}", values[number, at, 0]) for at in range(24)]
                again = [one for at in range(24) for one in runs(f"{at}", *values[number, at, 1:])]
                name = chosen(selection(*trials, *again, count=count))
                found[count].append(truth[number, int(name or 0)])
        gain = np.array(found[3]) - np.array(found[0])
        # Six standard errors: a seed in which this fails by chance is one in a billion.
        assert gain.mean() > 6 * gain.std(ddof=1) / np.sqrt(studies) > 0


def study_of(**changes: Any) -> Study:
    """Two arms without a start, with 5 searched trials, two finalists and two seeds each."""
    values: dict[str, Any] = {
        "quantization": {"bits": [[4, 4]]},
        "training": {"epochs": 3, "init": "scratch"},
        "selection": {"finalists": 2, "seeds": 2},
    }
    return tiny_study(**{**values, **changes})


def metric(plan: PlannedTrial) -> float:
    """Best near a rate of 0.003 in the search; the luck of the very best is gone when it is trained again."""
    value = 1 / (1 + abs(plan.config.learning_rate - 3e-3))
    return value if plan.stage in ("default", "random", "search") else value / 2 if value > 0.999 else value


def by_stage(plans: list[PlannedTrial], stage: str, arm: str = "adam-w4a4") -> list[PlannedTrial]:
    return [plan for plan in plans if (plan.arm_id, plan.stage) == (arm, stage)]


def searched(plans: list[PlannedTrial], arm: str = "adam-w4a4") -> list[PlannedTrial]:
    """Searched trials of an arm, the best first."""
    found = [plan for stage in ("default", "random", "search") for plan in by_stage(plans, stage, arm)]
    return sorted(found, key=lambda plan: (metric(plan), plan.trial_key), reverse=True)


def run_all(queue: StudyQueue, worse: str = "", *, stop_after: int = 10**6) -> tuple[list[PlannedTrial], list[Any]]:
    """Run one trial at a time; further runs of the configuration `worse` collapse."""
    plans: list[PlannedTrial] = []
    rows: list[dict[str, Any]] = []
    while len(plans) < stop_after and (plan := queue.next()) is not None:
        collapses = plan.stage == "finalists" and plan.config.config_id == worse
        plans.append(plan)
        rows.append(row_of(plan, metric=0.05 if collapses else metric(plan)))
        queue.ended(plan, rows[-1])
    return plans, rows


class TestTheStage:
    def test_every_arm_trains_its_best_again_with_seeds_of_their_own(self) -> None:
        study = study_of(repeats=2)
        plans, _ = run_all(queue := make_queue(study))
        assert queue.finished and not queue.left() and not queue.remaining()
        assert len(plans) == sum(trials for _, trials, _ in stage_epochs(study))
        for arm in study.arms():
            again = by_stage(plans, "finalists", arm.arm_id)
            best = [plan.config.config_id for plan in searched(plans, arm.arm_id)[:2]]
            assert Counter(plan.config.config_id for plan in again) == dict.fromkeys(best, 2)
            seeds = [5_000 + arm.repeat * 10_000, 5_001 + arm.repeat * 10_000]
            assert [(plan.config.seed, plan.config.init_seed) for plan in again] == [(one, one) for one in seeds * 2]
            assert [plan.number for plan in again] == [0, 1, 2, 3]
        others = {plan.config.seed for plan in plans if plan.stage != "finalists"}
        assert not others & {plan.config.seed for plan in plans if plan.stage == "finalists"}

    def test_retrain_waits_for_them_and_takes_the_best_mean(self) -> None:
        plain, _ = run_all(make_queue(study_of(selection={})))
        best, second = searched(plain)[:2]
        plans, _ = run_all(queue := make_queue(study_of()), worse=best.config.config_id)
        assert {plan.config.config_id for plan in by_stage(plain, "retrain")} == {best.config.config_id}
        assert {plan.config.config_id for plan in by_stage(plans, "retrain")} == {second.config.config_id}
        own = [plan.stage for plan in plans if plan.arm_id == "adam-w4a4"]
        assert own == ["default", "random", "search", "search", "search", *["finalists"] * 4, "retrain", "retrain"]
        state = queue.arms["adam-w4a4"]
        assert state.best is not None and state.best[0].config == second.config
        assert state.best[0].stage in ("default", "random", "search"), "the trial that the search has tried"
        # Nothing else has changed: neither what was searched, nor with which keys.
        assert {plan.trial_key for plan in plain if plan.stage != "retrain"} <= {plan.trial_key for plan in plans}

    def test_all_finalists_of_an_arm_can_run_at_once_and_nothing_after_them(self) -> None:
        queue = make_queue(study_of(space={"optimizers": ["adam"], "batch_size": {"low": 16, "high": 64}}))
        run_all(queue, stop_after=5)
        running = [queue.next() for _ in range(5)]
        assert [plan.stage if plan else None for plan in running] == ["finalists"] * 4 + [None]
        assert (queue.left(), queue.remaining()) == (0, 4 + 2)
        for plan in running[:4]:
            assert plan is not None and not queue.finished
            queue.ended(plan, row_of(plan))
        assert queue.left() == queue.remaining() == 2

    @pytest.mark.parametrize("cut", range(0, 23, 2))
    def test_a_study_that_stops_anywhere_goes_on_as_if_it_had_not(self, cut: int) -> None:
        study = study_of()
        whole, _ = run_all(make_queue(study))
        before, rows = run_all(make_queue(study), stop_after=cut)
        after, _ = run_all(make_queue(study, rows))
        assert [plan.trial_key for plan in [*before, *after]] == [plan.trial_key for plan in whole]

    def test_one_that_was_cut_off_goes_on_while_it_is_wanted(self) -> None:
        study = study_of()
        plans, rows = run_all(make_queue(study))
        at = next(at for at, plan in enumerate(plans) if plan.stage == "finalists")
        rows[at] |= {"status": "interrupted"}
        kept = [row for row in rows if row["stage"] not in ("finalists", "retrain")]
        queue = make_queue(study, [*kept, rows[at]])
        resumed = queue.next()
        assert resumed is not None and resumed.trial_key == plans[at].trial_key
        fewer = make_queue(study_of(selection={}), [*kept, rows[at]])
        assert all(plan.stage == "retrain" for plan in run_all(fewer)[0])
        assert fewer.finished

    def test_a_retried_trial_that_joins_the_best_replaces_one_whose_runs_stay_recorded(self) -> None:
        study = study_of()
        plans, rows = run_all(make_queue(study))
        best, second, third = searched(plans)[:3]
        failed = [
            row | {"status": "error", "val_metric": None} if row["trial_key"] == best.trial_key else row for row in rows
        ]
        first, first_rows = run_all(make_queue(study, [row for row in failed if row["stage"] not in LATER]))
        ids = [one.config.config_id for one in (best, second, third)]
        assert {plan.config.config_id for plan in by_stage(first, "finalists")} == {*ids[1:]}
        # Then the failed one is run again: its row is replaced.
        again = [row for row in rows if row["stage"] not in LATER] + first_rows
        queue = make_queue(study, again)
        added, added_rows = run_all(queue)
        assert Counter(plan.config.config_id for plan in by_stage(added, "finalists")) == {ids[0]: 2}
        state = queue.arms["adam-w4a4"]
        assert state.ended("finalists") == 6 and queue.finished and not queue.remaining()
        assert [plan.config.config_id for plan, _ in state._selection.finalists] == ids[:2]
        assert misfits(queue, [*again, *added_rows]) == []

    def test_more_finalists_and_seeds_run_only_the_new_ones(self) -> None:
        _, rows = run_all(make_queue(study_of()))
        queue = make_queue(study_of(selection={"finalists": 3, "seeds": 3}), rows)
        after, _ = run_all(queue)
        assert Counter(plan.stage for plan in after if plan.stage != "retrain") == {"finalists": 2 * (3 * 3 - 2 * 2)}
        fewer = make_queue(study_of(selection={"finalists": 1, "seeds": 1}), rows)
        assert all(plan.stage == "retrain" for plan in run_all(fewer)[0]) and fewer.finished

    def test_a_finalist_outside_of_the_ranges_counts_as_a_default_does(self) -> None:
        space = {"optimizers": ["adam"], "batch_size": {"low": 16, "high": 64}, "learning_rate": {"low": 0.02}}
        study = study_of(space=space)
        plans, rows = run_all(make_queue(study))
        assert searched(plans)[0].stage == "default"
        assert any(plan.config.learning_rate < 0.02 for plan in by_stage(plans, "finalists"))
        assert make_queue(study, rows).next() is None

    def test_an_arm_with_fewer_completed_trials_has_fewer_finalists_and_one_without_any_has_none(self) -> None:
        queue = make_queue(study_of(max_failed_trials=100))
        while (plan := queue.next()) is not None:
            failed = plan.arm_id == "adam-w4a4" or plan.stage == "search" or plan.stage == "random"
            late = plan.stage in LATER
            queue.ended(
                plan, row_of(plan, metric=0.5) if late or not failed else row_of(plan, status="oom", metric=None)
            )
        counts = {arm: Counter(plan.stage for plan, _ in state.done.values()) for arm, state in queue.arms.items()}
        assert (counts["adam-w4a4"]["finalists"], counts["adam-w4a4"]["retrain"]) == (0, 0)
        assert (counts["sgd_clip-w4a4"]["finalists"], counts["sgd_clip-w4a4"]["retrain"]) == (2, 2)
        assert queue.finished and not queue.remaining()

    def test_joint_search_and_a_shared_start_have_the_stage_as_well(self) -> None:
        joint = study_of(mode="joint")
        plans, rows = run_all(make_queue(joint))
        assert Counter(plan.stage for plan in plans)["finalists"] == 4
        assert make_queue(joint, rows).next() is None
        started = study_of(training={"epochs": 3})
        plans, rows = work_off(make_queue(started))
        assert {p.init_checkpoint_sha256 for p in plans if p.stage == "finalists"} == {INIT}
        assert len(plans) == sum(trials for _, trials, _ in stage_epochs(started))

    def test_without_retrain_the_choice_is_made_all_the_same(self) -> None:
        stages = {"default": True, "random": 1, "search": 3, "retrain": 0}
        plans, _ = run_all(make_queue(study_of(stages=stages)))
        best = searched(plans)[0].config.config_id
        again, _ = run_all(queue := make_queue(study_of(stages=stages)), worse=best)
        state = queue.arms["adam-w4a4"]
        assert queue.finished and state.best is not None
        assert state.best[0].config == searched(again)[1].config


class TestBadInput:
    def test_more_finalists_than_searched_trials(self) -> None:
        study_of(selection={"finalists": 5})
        with pytest.raises(ValueError, match=r"selection\.finalists: must be at most .*\(5 in adam-w4a4\), but got 6"):
            study_of(selection={"finalists": 6})

    def test_more_finalists_than_points(self) -> None:
        space = {
            "optimizers": ["prodigy"],
            "batch_size": {"low": 16, "high": 32},
            "fixed": {"prodigy": {"d_coef": 1.0}},
        }
        stages = {"default": True, "random": 2, "search": 9, "retrain": 1}
        with pytest.raises(ValueError, match=r"\(5 in prodigy-w4a4\), but got 6"):
            study_of(space=space, stages=stages, selection={"finalists": 6})

    @pytest.mark.parametrize(
        ("changes", "key"),
        [
            ({"selection": {"finalists": 2, "seeds": 5_000}}, "selection.seeds"),
            ({"selection": {"finalists": 2, "seeds": 0}}, "selection.seeds"),
            ({"stages": {"search": 3, "retrain": 5_000}}, "stages.retrain"),
        ],
    )
    def test_seeds_that_would_reach_those_of_another_stage(self, changes: dict[str, Any], key: str) -> None:
        with pytest.raises(ValueError, match=key):
            study_of(**changes)

    def test_retrain_seeds_without_finalists_are_as_many_as_before(self) -> None:
        study_of(stages={"search": 3, "retrain": 9_999}, selection={})
