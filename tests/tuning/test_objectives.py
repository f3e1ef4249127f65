"""A search with several objectives: what its sampler is told, and that it goes on as it would have."""

import json
from collections import Counter
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import optuna
import pytest

import analysis
from tests.helpers.studies import tiny_study
from tests.helpers.without_ray import Killed, run_here
from tests.study.test_objectives import BOTH, values_of
from tests.tuning.test_queue import INIT, row_of, score
from tune_qat.cli.run_summary import ending
from tune_qat.config import Range, Scheme, TuneQatError
from tune_qat.results.reader import read_rows
from tune_qat.study import Study
from tune_qat.study.objectives import COSTS
from tune_qat.training import workload
from tune_qat.tuning.costs import add_missing, cost_rows, objectives_of, scheme_costs
from tune_qat.tuning.nsga2 import Genes
from tune_qat.tuning.objective import Objective
from tune_qat.tuning.objectives import Objectives
from tune_qat.tuning.plan import PlannedTrial, Planner
from tune_qat.tuning.queue import StudyQueue
from tune_qat.tuning.sampler import MAXIMIZE, MINIMIZE

SAMPLERS = ["tpe", "nsga2", "random"]


def study_of(sampler: str = "tpe", **changes: Any) -> Study:
    search = {"objectives": BOTH, "sampler": sampler, "startup_trials": 4}
    stages = {"default": True, "random": 2, "search": 16, "retrain": 2}
    return tiny_study(name="fronts", **{**values_of(search=search), "stages": stages, **changes})


def costs_of(study: Study) -> dict[Scheme, dict[str, float]]:
    return {
        scheme: dict.fromkeys(COSTS, 0.0) | {"weight_bytes": 100.0 * scheme.weight_bits} for scheme in study.schemes
    }


def queue_of(study: Study, record: list[dict[str, Any]] | None = None, *, sign: int = 1) -> StudyQueue:
    work = workload.load("lenet5", "digits", options=study.workload.options)
    objective = Objective(sign, 0.0 if sign > 0 else 1.0, 0.1 if sign > 0 else 0.95)
    objectives = Objectives.of_study(study, costs_of(study))
    return StudyQueue(Planner(study=study, work=work), record or [], objective=objective, objectives=objectives)


def outcome(plan: PlannedTrial, sign: int) -> dict[str, Any]:
    """More bits are more accurate; a large rate diverges."""
    if plan.stage == "search" and plan.number % 5 == 4:
        return row_of(plan, status="diverged", metric=None)
    accuracy = 0.3 * score(plan) + 0.08 * min(8, plan.config.scheme.weight_bits)
    return row_of(plan, metric=accuracy if sign > 0 else 1 - accuracy)


def work_off(queue: StudyQueue, *, sign: int = 1, most: int = 10**6) -> tuple[list[PlannedTrial], list[dict[str, Any]]]:
    plans, rows = list[PlannedTrial](), list[dict[str, Any]]()
    while len(plans) < most and (plan := queue.next()) is not None:
        plans.append(plan)
        rows.append(outcome(plan, sign))
        queue.ended(plan, rows[-1])
    return plans, rows


def keys_of(plans: list[PlannedTrial]) -> list[str]:
    return [plan.trial_key for plan in plans]


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("sign", [1, -1])
def test_a_study_that_goes_on_from_its_record_proposes_what_it_would_have(sampler: str, sign: int) -> None:
    study = study_of(sampler)
    whole, rows = work_off(queue_of(study, sign=sign), sign=sign)
    assert keys_of(whole) == keys_of(work_off(queue_of(study, sign=sign), sign=sign)[0])
    for at in (3, 9, 12, 17, len(rows) - 3):
        queue = queue_of(study, rows[:at], sign=sign)
        queue.start_known(queue.starts[0], INIT)
        assert keys_of(work_off(queue, sign=sign)[0]) == keys_of(whole[at:]), at
    other = study.model_copy(update={"seed": 7})
    assert not {*keys_of(work_off(queue_of(other, sign=sign), sign=sign)[0])} & {*keys_of(whole)}


@pytest.mark.parametrize("sign", [1, -1])
def test_each_point_of_the_front_gets_the_retrain_seeds(sign: int) -> None:
    study = study_of(selection={"front": 3})
    queue = queue_of(study, sign=sign)
    plans, _ = work_off(queue, sign=sign)
    (state,) = queue.arms.values()
    again = Counter(plan.config.config_id for plan in plans if plan.stage == "retrain")
    assert again == {plan.config.config_id: 2 for plan, _ in state.choices} and 1 < len(again) <= 3
    assert {plan.config.seed for plan in plans if plan.stage == "retrain"} == {1, 2}
    assert state.best is state.choices[0]
    metrics = [sign * row["val_metric"] for _, row in state.choices]
    assert metrics == sorted(metrics, reverse=True)
    sizes = [plan.config.scheme.weight_bits for plan, _ in state.choices]
    assert sizes == sorted(sizes, reverse=True), "what is more accurate takes more bytes"
    assert state.planned_retrain == sum(again.values()) and queue.finished and not queue.remaining()


@pytest.mark.parametrize("objectives", [BOTH, BOTH[::-1]])
@pytest.mark.parametrize("sign", [1, -1])
def test_a_diverged_trial_is_the_worst_in_the_metric_alone(objectives: list[str], sign: int) -> None:
    study = study_of(search={"objectives": objectives})
    queue = queue_of(study, sign=sign)
    work_off(queue, sign=sign)
    (state,) = queue.arms.values()
    assert state.sampler is not None
    asked = state.sampler._study
    place = objectives.index("accuracy")
    assert asked.directions[place] == MAXIMIZE and asked.directions[1 - place] == MINIMIZE
    known = [done for done in state.done.values() if done[0].stage in ("default", "random", "search")]
    worst = queue.objective.sign * queue.objective.worst
    expected = sorted(
        (worst if row["status"] == "diverged" else sign * row["val_metric"], 100.0 * plan.config.scheme.weight_bits)
        for plan, row in known
    )
    told = [trial.values for trial in asked.trials if trial.state.name == "COMPLETE"]
    assert sorted((one[place], one[1 - place]) for one in told) == expected
    assert any(value == worst for value, _ in expected)


def test_an_error_says_nothing_of_a_configuration() -> None:
    study = study_of()
    queue = queue_of(study)
    plans, _ = work_off(queue)
    assert queue.objectives.told(plans[1], row_of(plans[1], status="error", metric=None), queue.objective) is None
    assert queue.objectives.told(plans[1], row_of(plans[1], status="oom", metric=None), queue.objective) == [0.0, 800.0]


@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_samplers_come_nearer_to_the_front_than_chance(sampler: str) -> None:
    """Of the later half of the trials, how far the rate is from the best at any bits; the range spans four decades."""

    def distance(kind: str) -> float:
        stages = {"default": True, "random": 0, "search": 80, "retrain": 0}
        study = study_of(kind, stages=stages).model_copy(update={"seed": 3})
        plans, _ = work_off(queue_of(study))
        late = [plan for plan in plans if plan.stage == "search"][40:]
        return sum(1 - score(plan) for plan in late) / len(late)

    assert distance(sampler) < 0.8 * distance("random")


class TestGenes:
    SPACES = {  # noqa: RUF012
        "adam": {
            "learning_rate": Range(low=1e-5, high=1e-1),
            "batch_size": Range(low=8, high=64),
            "bits": Range(low=0, high=3, log=False),
        },
        "nesterov": {
            "learning_rate": Range(low=1e-4, high=1.0),
            "momentum": Range(low=0.5, high=0.99, log=False),
            "bits": Range(low=0, high=3, log=False),
            "dampening": Range(low=0.1, high=0.1),
        },
    }

    @pytest.mark.parametrize("names", [("adam",), ("nesterov",), ("adam", "nesterov")])
    def test_a_point_of_a_record_has_the_genes_that_it_was_made_of(self, names: tuple[str, ...]) -> None:
        genes = Genes({name: self.SPACES[name] for name in names})
        study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=1))
        for _ in range(200):
            trial = study.ask()
            genes.define(trial)
            optimizer, values = genes.values(trial.params)
            assert genes.parameters(optimizer, values) == trial.params
            for name, value in values.items():
                assert self.SPACES[optimizer][name].low <= value <= self.SPACES[optimizer][name].high

    def test_optimizers_share_their_places(self) -> None:
        genes = Genes(self.SPACES)
        middle = {"learning_rate": 1e-3, "batch_size": 16, "bits": 2}
        found = genes.parameters("adam", middle)
        assert genes.values({**found, "optimizer": "nesterov", "momentum": 0, "dampening": 0}) == (
            "nesterov",
            {"learning_rate": pytest.approx(1e-2), "momentum": 0.5, "bits": 2, "dampening": 0.1},
        )


def test_costs_are_those_of_the_view_and_one_that_is_the_same_everywhere_is_refused(tmp_path: Path) -> None:
    study = study_of(quantization={"bits": [[4, 4], [3, 4]], "search_bits": True})
    work = workload.load("lenet5", "digits", options=study.workload.options)
    rows = list(cost_rows(study, work))
    found = scheme_costs(study, rows)
    for scheme in study.schemes:
        of_scheme = [row for row in rows if row["weight_bits"] == scheme.weight_bits]
        assert found[scheme]["weight_bytes"] == sum(row["weight_bytes"] for row in of_scheme)
        assert found[scheme]["activation_bytes"] == max(row["activation_bytes"] for row in of_scheme)
    objectives_of(study, lambda: rows)
    search = study.search.model_copy(update={"objectives": ["accuracy", "stored_bytes"]})
    stored = study.model_copy(update={"search": search})
    with pytest.raises(TuneQatError, match=r"stored_bytes is [0-9,]+ at each of w4a4, w3a4, so that nothing is traded"):
        objectives_of(stored, lambda: rows)
    with pytest.raises(TuneQatError, match="what w4a4 costs in weight_bytes is not known"):
        objectives_of(study, list)


def real_study(sampler: str) -> Study:
    return study_of(
        sampler,
        training={"epochs": 1},
        pretrain={"batch_size": 32, "epochs": 1},
        stages={"default": True, "search": 6, "retrain": 1},
    )


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_a_real_study_that_is_killed_ends_as_one_that_is_not(tmp_path: Path, sampler: str) -> None:
    study, whole, killed = real_study(sampler), tmp_path / "whole", tmp_path / "killed"
    trained, _ = run_here(study, whole)
    for after in (5, 2):
        left = [after]

        def dies(plan: PlannedTrial, report: dict[str, Any], left: list[int] = left) -> None:
            left[0] -= 1
            if not left[0]:
                raise Killed

        with pytest.raises(Killed):
            run_here(study, killed, watch=dies)
    run_here(study, killed)
    keys = [{row["trial_key"]: row["val_metric"] for row in read_rows(one, "trials")} for one in (whole, killed)]
    assert keys[0] == keys[1] and set(trained) == set(keys[0])
    (arm,) = read_rows(whole, "arms")
    assert (arm["scheduler"], arm["sampler"]) == ("none", sampler)
    assert json.loads(arm["objectives_json"]) == BOTH
    assert not read_rows(whole, "decisions")
    assert_front(whole)
    again, _ = run_here(study, whole)
    assert again == []


def assert_front(results: Path) -> None:
    """What was trained again is the brute-force front of the record, and what is shown of it."""
    assert list(add_missing(results, None)) == ["fronts"]
    trials = [row for row in read_rows(results, "trials") if row["status"] == "completed"]
    sizes = Counter[tuple[int, int]]()
    for row in read_rows(results, "costs"):
        sizes[row["weight_bits"], row["activation_bits"]] += row["weight_bytes"]
    searched = [row for row in trials if row["stage"] in ("default", "search")]
    losses = {
        row["config_id"]: (-row["val_metric"], sizes[row["weight_bits"], row["activation_bits"]])
        for row in searched
        if row["learned"] or not any(one["learned"] for one in searched)
    }
    front = {
        one
        for one, (metric, size) in losses.items()
        if not any(a <= metric and b <= size and (a, b) != (metric, size) for a, b in losses.values())
    }
    again = {row["config_id"] for row in trials if row["stage"] == "retrain"}
    assert again <= front and len({losses[one] for one in front}) == len(again)
    shown = analysis.frame(results, "front")
    assert set(shown["config_id"]) == again and shown["chosen"].all() and (shown["n"] == 1).all()


@pytest.mark.slow
def test_the_last_screen_shows_the_front(tmp_path: Path) -> None:
    study = real_study("tpe")
    run_here(study, tmp_path)
    assert list(add_missing(tmp_path, None)) == ["fronts"]
    outcome: Any = SimpleNamespace(results=tmp_path, complete=True, seconds=60.0, spent=None, stopped_by=None, left=0)
    text = ending(study, outcome, results=tmp_path, again="tune-qat run fronts.toml")
    assert "the front of accuracy against weight_bytes, each point trained again" in text
    shown = analysis.frame(tmp_path, "front")
    for row in shown.itertuples():
        assert f"{row.weight_bits}/{row.activation_bits}" in text and f"{row.weight_bytes:,}" in text
    assert text.count("a model of the front") == len(shown)
    assert "the best configuration" not in text
