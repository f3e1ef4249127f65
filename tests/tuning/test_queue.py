"""The queue alone: no Ray cluster, outcomes made up by the test."""

import json
from collections import Counter
from typing import Any

import pytest

from tests.helpers.studies import tiny_study
from tune_qat.study import Study
from tune_qat.training import workload
from tune_qat.tuning.objective import Objective
from tune_qat.tuning.plan import PlannedTrial, Planner
from tune_qat.tuning.queue import StudyQueue
from tune_qat.tuning.sampler import ArmSampler

INIT = "0" * 64
ACCURACY = Objective(sign=1, worst=0.0)


def make_queue(study: Study, record: list[dict[str, Any]] | None = None, *, sign: int = 1) -> StudyQueue:
    work = workload.load("lenet5", "digits", options=study.workload.options)
    return StudyQueue(
        Planner(study=study, work=work), record or [], objective=Objective(sign, 0.0 if sign > 0 else 1.0, 0.1)
    )


def row_of(plan: PlannedTrial, *, status: str = "completed", metric: float | None = 0.5) -> dict[str, Any]:
    return {
        "trial_key": plan.trial_key,
        "arm_id": plan.arm_id,
        "stage": plan.stage,
        "trial_number": plan.number,
        "source": plan.source,
        "params_json": json.dumps(plan.config.to_dict()),
        "status": status,
        "val_metric": metric,
        "error_type": None,
        "error_text": None,
        "checkpoint_sha256": INIT,
    }


def score(plan: PlannedTrial) -> float:
    """Best at a learning rate of 0.003, whatever the rest."""
    return 1 / (1 + abs(plan.config.learning_rate - 3e-3))


def work_off(queue: StudyQueue, *, stop_after: int = 10**6) -> tuple[list[PlannedTrial], list[dict[str, Any]]]:
    """Run trials one at a time until nothing is left."""
    plans: list[PlannedTrial] = []
    rows: list[dict[str, Any]] = []
    while len(plans) < stop_after and (plan := queue.next()) is not None:
        plans.append(plan)
        rows.append(row_of(plan, metric=score(plan)))
        queue.ended(plan, rows[-1])
    return plans, rows


@pytest.mark.parametrize("mode", ["comparison", "joint"])
def test_optimizers_without_a_rate_to_search_or_a_schedule_and_one_for_quantizers(mode: str) -> None:
    study = tiny_study(
        mode=mode,
        space={"optimizers": ["prodigy", "schedule_free_sgd"], "batch_size": {"low": 16, "high": 64}},
        training={"epochs": 3, "init": "scratch", "quantizer_optimizer": {"learning_rate": 1e-5}},
    )
    plans, rows = work_off(make_queue(study))
    assert len(plans) == sum(sum(study.planned(arm).values()) for arm in study.arms())
    for plan in plans:
        config = plan.config
        if config.optimizer == "prodigy":
            assert (config.learning_rate, config.schedule) == (1.0, "cosine")
            assert plan.stage == "retrain" or set(plan.values) == {"batch_size", "d_coef"}
        else:
            assert config.schedule == "constant"
        assert (config.quantizer_optimizer is None) == config.scheme.is_float
    assert len({plan.config.optimizer_options.get("d_coef") for plan in plans}) > 4
    again = make_queue(study, rows)
    assert again.next() is None, "all of it is recognised in the record"


def test_every_stage_has_exactly_its_planned_trials_in_every_arm() -> None:
    queue = make_queue(tiny_study())
    plans, _ = work_off(queue)
    counts = Counter((plan.arm_id, plan.stage) for plan in plans)
    arms = ["adam-w32a32", "sgd_clip-w32a32", "adam-w4a4", "sgd_clip-w4a4"]
    planned = {"default": 1, "random": 1, "search": 3, "retrain": 2}
    expected = {(arm, stage): count for arm in arms for stage, count in planned.items()}
    assert counts == {("pretrain", "pretrain"): 1, **expected}
    assert queue.finished
    assert len({plan.trial_key for plan in plans}) == len(plans)


def test_nothing_starts_before_the_pretrained_start_is_there() -> None:
    queue = make_queue(tiny_study())
    first = queue.next()
    assert first is not None and first.stage == "pretrain"
    assert queue.next() is None
    assert not queue.finished
    queue.ended(first, row_of(first))
    second = queue.next()
    assert second is not None and second.init_checkpoint_sha256 == INIT


def test_an_arms_search_waits_for_its_default_and_random_trials() -> None:
    queue = make_queue(tiny_study(space={"optimizers": ["adam"], "batch_size": {"low": 16, "high": 64}}))
    pretrain = queue.next()
    assert pretrain is not None
    queue.ended(pretrain, row_of(pretrain))
    started = [queue.next() for _ in range(6)]
    assert [plan.stage for plan in started if plan] == ["default", "default", "random", "random"]


def test_retrain_repeats_the_best_configuration_with_fresh_seeds_that_all_arms_share() -> None:
    plans, rows = work_off(make_queue(tiny_study()))
    for arm in ("adam-w4a4", "sgd_clip-w32a32"):
        earlier = [p for p in plans if p.arm_id == arm and p.stage in ("default", "random", "search")]
        again = [p for p in plans if p.arm_id == arm and p.stage == "retrain"]
        best = max(earlier, key=score)
        assert {p.config.config_id for p in again} == {best.config.config_id}
        assert [p.config.seed for p in again] == [1, 2]
        assert best.config.seed == 0


@pytest.mark.parametrize("done", [0, 1, 5, 12, 20, 28])
def test_a_queue_on_a_partial_record_does_the_rest_and_nothing_twice(done: int) -> None:
    study = tiny_study()
    before, rows = work_off(make_queue(study), stop_after=done)
    queue = make_queue(study, rows)
    if done:
        queue.start_known(queue.starts[0], INIT)
    after, _ = work_off(queue)
    counts = Counter(plan.stage for plan in [*before, *after])
    assert counts == {"pretrain": 1, "default": 4, "random": 4, "search": 12, "retrain": 8}
    assert not {p.trial_key for p in before} & {p.trial_key for p in after}


def test_a_trial_that_was_cut_off_goes_first_and_is_the_same_trial() -> None:
    study = tiny_study()
    before, rows = work_off(make_queue(study), stop_after=12)
    cut = next(i for i, plan in enumerate(before) if plan.stage == "search")
    rows[cut]["status"] = "running"
    queue = make_queue(study, rows)
    queue.start_known(queue.starts[0], INIT)
    plan = queue.next()
    assert plan is not None
    assert (plan.trial_key, plan.config) == (before[cut].trial_key, before[cut].config)


def test_a_recorded_trial_outside_todays_range_does_not_count() -> None:
    study = tiny_study()
    before, rows = work_off(make_queue(study))
    searched = [p for p in before if p.arm_id == "adam-w4a4" and p.stage == "search"]
    low = sorted(p.config.learning_rate for p in searched)[1]
    narrower = tiny_study(
        space={
            "optimizers": ["adam", "sgd_clip"],
            "batch_size": {"low": 16, "high": 64},
            "per_optimizer": {"adam": {"learning_rate": {"low": low, "high": 0.1}}},
        }
    )
    queue = make_queue(narrower, rows)
    queue.start_known(queue.starts[0], INIT)
    state = queue.arms["adam-w4a4"]
    assert state.ended("search") == sum(p.config.learning_rate >= low for p in searched)
    assert queue.arms["sgd_clip-w4a4"].ended("search") == 3


def test_more_trials_and_seeds_run_only_the_new_ones() -> None:
    study = tiny_study()
    _, rows = work_off(make_queue(study))
    more = tiny_study(stages={"default": True, "random": 1, "search": 5, "retrain": 3})
    queue = make_queue(more, rows)
    queue.start_known(queue.starts[0], INIT)
    after, _ = work_off(queue)
    assert Counter(p.stage for p in after)["search"] == 4 * 2
    assert {p.stage for p in after} == {"search", "retrain"}


BATCH = {"low": 16, "high": 64}
WIDER = {
    "optimizers": ["adam", "sgd_clip"],
    "batch_size": {"low": 8, "high": 128, "default": 32},
    "learning_rate": {"low": 1e-7, "high": 10.0},
}
ADAM = {"optimizers": ["adam"], "batch_size": BATCH}
TWO_BITS = {"bits": [[2, 2], [8, 8]], "search_bits": True}
THREE_BITS = {"bits": [[2, 2], [4, 4], [8, 8]], "search_bits": True}
MORE = {"random": 2, "search": 5, "retrain": 3}


@pytest.mark.parametrize(
    ("before", "after", "new"),
    [
        ({}, {"space": WIDER}, {}),
        ({}, {"space": WIDER, "stages": MORE}, {"random": 4, "search": 8}),
        ({"space": ADAM}, {}, {"default": 2, "random": 2, "search": 6}),
        ({"space": ADAM, "mode": "joint"}, {"mode": "joint"}, {"default": 2}),
        ({"quantization": {"bits": [[4, 4]]}}, {}, {"default": 2, "random": 2, "search": 6}),
        ({"mode": "joint", "quantization": TWO_BITS}, {"mode": "joint", "quantization": THREE_BITS}, {}),
        ({}, {"repeats": 2}, {"default": 4, "random": 4, "search": 12}),
    ],
    ids=["wider", "wider, more trials", "optimizer", "optimizer, joint", "bits", "bits, joint", "repeat"],
)
def test_an_edited_study_runs_only_what_is_new(
    before: dict[str, Any], after: dict[str, Any], new: dict[str, int]
) -> None:
    """`new`: trials per stage before `retrain`, of which only those of an arm's new best are added."""
    old, rows = work_off(make_queue(tiny_study(**before)))
    study = tiny_study(**after)
    queue = make_queue(study, rows)
    queue.start_known(queue.starts[0], INIT)
    added, _ = work_off(queue)
    assert Counter(plan.stage for plan in added if plan.stage != "retrain") == new
    assert len({plan.trial_key for plan in [*old, *added]}) == len(old) + len(added)
    assert queue.finished and not queue.left()
    for state in queue.arms.values():
        best = state.best
        assert best is not None
        assert {plan.trial_key for plan, _ in state.done.values()} == {
            plan.trial_key for plan in [*old, *added] if plan.arm_id == state.arm.arm_id
        }
        ended = Counter(plan.stage for plan, _ in state.done.values() if plan.stage != "retrain")
        again = [p for p, _ in state.done.values() if p.stage == "retrain"]
        ended["retrain"] = sum(p.config.config_id == best[0].config.config_id for p in again)
        assert ended == Counter(study.planned(state.arm))


def test_a_repeated_proposal_is_answered_from_the_record(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[float | None] = []

    class Repeating:
        """Proposes every point twice."""

        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.calls = 0

        def propose(self, name: str) -> tuple[str, dict[str, float]]:
            self.calls += 1
            return "adam", {"learning_rate": 1e-4 * ((self.calls + 1) // 2), "batch_size": 32}

        def tell(self, name: str, objective: float | None) -> None:
            told.append(objective)

        def add(self, optimizer: str, values: Any, objective: float) -> None:
            raise AssertionError("nothing was cut off")

    monkeypatch.setattr("tune_qat.tuning.arm_choices.ArmSampler", Repeating)
    plans, _ = work_off(make_queue(tiny_study(space={"optimizers": ["adam"], "batch_size": {"low": 16, "high": 64}})))
    searched = [plan for plan in plans if plan.stage == "search"]
    assert len(searched) == 2 * 3
    assert len({plan.trial_key for plan in searched}) == 2 * 3
    assert len(told) > 2 * 3, "the repeated proposals are told what the record knows"


class TestHistory:
    """What a sampler that begins in the middle of a study is told of the trials before."""

    SCRATCH: dict[str, Any] = {"training": {"epochs": 3, "init": "scratch"}, "quantization": {"bits": [[4, 4]]}}

    @staticmethod
    def told(monkeypatch: pytest.MonkeyPatch, study: Study, record: list[dict[str, Any]]) -> list[float]:
        """Learning rates in the history of the study's one sampler."""
        histories = []

        class Remembering(ArmSampler):
            def __init__(self, *args: Any, history: Any, **options: Any) -> None:
                histories.append(history)
                super().__init__(*args, history=history, **options)

        monkeypatch.setattr("tune_qat.tuning.arm_choices.ArmSampler", Remembering)
        plan = make_queue(study, record).next()
        assert plan is not None and plan.stage == "search"
        return [values["learning_rate"] for _, values, _ in histories[0]]

    def test_a_default_outside_of_the_range_is_not_in_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        space = {"optimizers": ["adam"], "batch_size": BATCH, "learning_rate": {"low": 2e-3, "high": 1e-1}}
        study = tiny_study(**self.SCRATCH, space=space)
        plans, rows = work_off(make_queue(study), stop_after=2)
        assert [(plan.stage, plan.config.learning_rate < 2e-3) for plan in plans] == [
            ("default", True),
            ("random", False),
        ]
        assert self.told(monkeypatch, study, rows) == [plans[1].config.learning_rate]

    def test_a_trial_that_failed_is_not_in_it(self, monkeypatch: pytest.MonkeyPatch) -> None:
        study = tiny_study(**self.SCRATCH, space=ADAM)
        plans, rows = work_off(make_queue(study), stop_after=4)
        assert [plan.stage for plan in plans] == ["default", "random", "search", "search"]
        rows[2] |= {"status": "error", "val_metric": None}
        kept = [plans[index].config.learning_rate for index in (0, 1, 3)]
        assert self.told(monkeypatch, study, rows) == kept


def test_arms_advance_together_also_while_nothing_has_ended() -> None:
    stages = {"default": True, "random": 3, "search": 0, "retrain": 0}
    queue = make_queue(tiny_study(training={"epochs": 3, "init": "scratch"}, stages=stages))
    begun: Counter[str] = Counter()
    for _ in range(16):
        plan = queue.next()
        assert plan is not None
        begun[plan.arm_id] += 1
        assert max(begun.values()) - min(begun[arm] for arm in queue.arms) <= 1
    assert set(begun.values()) == {4}


def test_too_many_failures_close_the_study_and_say_why() -> None:
    queue = make_queue(tiny_study(max_failed_trials=2))
    pretrain = queue.next()
    assert pretrain is not None
    queue.ended(pretrain, row_of(pretrain))
    for _ in range(3):
        plan = queue.next()
        assert plan is not None
        queue.ended(plan, {**row_of(plan, status="error", metric=None), "error_type": "ValueError", "error_text": "x"})
    assert queue.next() is None
    assert queue.failure is not None and "max_failed_trials = 2" in queue.failure and "ValueError" in queue.failure
    assert queue.finished


def test_a_failed_start_ends_the_study() -> None:
    queue = make_queue(tiny_study())
    pretrain = queue.next()
    assert pretrain is not None
    queue.ended(pretrain, row_of(pretrain, status="diverged", metric=None))
    assert queue.next() is None
    assert queue.failure is not None and "diverged" in queue.failure


def test_samplers_are_told_a_finite_worst_value_of_a_diverged_trial() -> None:
    assert ACCURACY.of_row({"status": "diverged", "val_metric": None}) == 0.0
    assert ACCURACY.of_row({"status": "oom", "val_metric": None}) == 0.0
    assert ACCURACY.of_row({"status": "interrupted", "val_metric": 0.25}) == 0.0
    assert ACCURACY.of_row({"status": "stopped", "val_metric": 0.25}) == 0.25


def test_an_arm_in_which_every_trial_diverged_has_no_retrain_and_the_study_still_ends() -> None:
    queue = make_queue(tiny_study())
    plans = []
    while (plan := queue.next()) is not None:
        plans.append(plan)
        good = plan.stage == "pretrain" or plan.arm_id != "adam-w4a4"
        queue.ended(plan, row_of(plan, status="completed" if good else "diverged", metric=0.5 if good else None))
    assert queue.finished
    assert not [p for p in plans if p.arm_id == "adam-w4a4" and p.stage == "retrain"]


def test_joint_mode_is_one_arm_per_bit_width_with_every_default_tried() -> None:
    queue = make_queue(tiny_study(mode="joint"))
    plans, _ = work_off(queue)
    assert {plan.arm_id for plan in plans} == {"pretrain", "joint-w32a32", "joint-w4a4"}
    defaults = [plan.config.optimizer for plan in plans if plan.arm_id == "joint-w4a4" and plan.stage == "default"]
    assert sorted(defaults) == ["adam", "sgd_clip"]
    assert Counter(p.stage for p in plans) == {"pretrain": 1, "default": 4, "random": 2, "search": 6, "retrain": 4}


def test_repeats_have_samplers_and_seeds_of_their_own() -> None:
    plans, _ = work_off(make_queue(tiny_study(repeats=2, quantization={"bits": [[4, 4]]})))
    first = [p for p in plans if p.arm_id == "adam-w4a4" and p.stage == "search"]
    second = [p for p in plans if p.arm_id == "adam-w4a4-r2" and p.stage == "search"]
    assert [p.config.learning_rate for p in first] != [p.config.learning_rate for p in second]
    assert {p.config.seed for p in second} == {10_000}


JOINT = {
    "mode": "joint",
    "quantization": {"bits": [[2, 2], [4, 4], [8, 8]], "search_bits": True},
    "stages": {"default": True, "random": 6, "search": 12, "retrain": 2},
}


def test_searched_bits_are_one_arm_whose_trials_have_all_of_them() -> None:
    queue = make_queue(tiny_study(**JOINT))
    plans, rows = work_off(queue)
    assert list(queue.arms) == ["joint-bits"]
    searched = {plan.config.scheme.label for plan in plans if plan.stage in ("random", "search")}
    assert searched == {"w2a2", "w4a4", "w8a8"}
    best, _ = queue.arms["joint-bits"].best or (None, None)
    retrained = [plan.config for plan in plans if plan.stage == "retrain"]
    assert best is not None and len(retrained) == 2
    assert {config.config_id for config in retrained} == {best.config.config_id}
    again = make_queue(tiny_study(**JOINT), rows)
    again.start_known(again.starts[0], INIT)
    assert again.next() is None and again.finished


def test_bits_that_are_not_searched_any_more_do_not_count() -> None:
    plans, rows = work_off(make_queue(tiny_study(**JOINT)))
    fewer = make_queue(tiny_study(**{**JOINT, "quantization": {"bits": [[2, 2], [4, 4]], "search_bits": True}}), rows)
    fewer.start_known(fewer.starts[0], INIT)
    kept = {plan.trial_key for plan, _ in fewer.arms["joint-bits"].done.values() if plan.stage == "search"}
    expected = {p.trial_key for p in plans if p.stage == "search" and p.config.scheme.label != "w8a8"}
    assert kept == expected and len(kept) < 12


def test_weight_decay_has_the_factor_of_the_bit_width() -> None:
    study = tiny_study(quantization={"bits": [[32, 32], [2, 2]], "weight_decay_factors": {"2": 0.25}})
    plans, _ = work_off(make_queue(study))
    factors = {(plan.config.scheme.label, plan.config.weight_decay_factor) for plan in plans}
    assert factors == {("w32a32", 1.0), ("w2a2", 0.25)}


def test_of_equally_good_configurations_the_key_decides_whichever_ended_first() -> None:
    study = tiny_study(
        space={"optimizers": ["adam"], "batch_size": {"low": 16, "high": 64}}, quantization={"bits": [[4, 4]]}
    )
    chosen = []
    for backwards in (False, True):
        plans, rows = work_off(make_queue(study))
        for row in rows:
            row["val_metric"] = 0.5
        queue = make_queue(study, [rows[0], *(reversed(rows[1:]) if backwards else rows[1:])])
        queue.start_known(queue.starts[0], INIT)
        best = queue.arms["adam-w4a4"].best
        assert best is not None
        chosen.append(best[0].trial_key)
    tuned = [plan.trial_key for plan in plans if plan.stage in ("default", "random", "search")]
    assert chosen == [max(tuned)] * 2


class TestBest:
    """Which configuration an arm trains again."""

    ONE: dict[str, Any] = {
        "training": {"epochs": 3, "init": "scratch"},
        "quantization": {"bits": [[4, 4]]},
        "space": ADAM,
    }

    def recorded(self, changes: dict[str, Any], *, sign: int = 1) -> tuple[list[PlannedTrial], str]:
        """Trials before `retrain`, with rising metrics, the last one with `changes`; the best one's key."""
        study = tiny_study(**self.ONE)
        plans, rows = work_off(make_queue(study), stop_after=5)
        for number, row in enumerate(rows):
            row["val_metric"] = number / 10
        rows[-1] |= changes
        best = make_queue(study, rows, sign=sign).arms["adam-w4a4"].best
        assert best is not None
        return plans, best[0].trial_key

    def test_is_the_largest_metric_or_the_smallest_where_that_is_better(self) -> None:
        plans, best = self.recorded({})
        assert best == plans[-1].trial_key
        plans, best = self.recorded({}, sign=-1)
        assert best == plans[0].trial_key

    def test_is_no_trial_that_was_stopped_however_good_it_was_by_then(self) -> None:
        plans, best = self.recorded({"status": "stopped"})
        assert best == plans[-2].trial_key


def test_retrain_follows_a_trial_beyond_the_plan_that_turns_out_best() -> None:
    """Cut off when the study had more trials, and still gone on with; meanwhile `retrain` may begin."""
    one = {"space": {"optimizers": ["adam"], "batch_size": {"low": 16, "high": 64}}, "quantization": {"bits": [[4, 4]]}}
    stages = {"default": True, "random": 1, "search": 4, "retrain": 2}
    plans, rows = work_off(make_queue(tiny_study(**one, stages=stages)))
    rows = [row for row in rows if row["stage"] != "retrain"]
    late = next(plan for plan in reversed(plans) if plan.stage == "search")
    next(row for row in rows if row["trial_key"] == late.trial_key)["status"] = "running"
    queue = make_queue(tiny_study(**one, stages={**stages, "search": 3}), rows)
    queue.start_known(queue.starts[0], INIT)
    first, second = queue.next(), queue.next()
    assert first is not None and first.trial_key == late.trial_key
    assert second is not None and second.stage == "retrain" and second.config.config_id != late.config.config_id
    queue.ended(first, row_of(first, metric=2.0))
    queue.ended(second, row_of(second))
    rest = work_off(queue)[0]
    assert [plan.config.config_id for plan in rest] == [late.config.config_id] * 2
