"""A study that crosses optimizers with who moves the quantizers, from its queue to its record, edges and simulation."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import analysis
from tests.helpers.records import record_of
from tests.helpers.studies import tiny_study
from tests.simulate.small import small, write_record
from tests.tuning.test_misfits import BATCH, recorded, told
from tests.tuning.test_queue import make_queue, work_off
from tune_qat.config import stable_hash
from tune_qat.simulate.load import load
from tune_qat.simulate.loop import simulate
from tune_qat.study import Study
from tune_qat.training import workload
from tune_qat.tuning.misfits import misfits
from tune_qat.tuning.plan import Planner
from tune_qat.tuning.rows import arm_columns, planned_columns
from tune_qat.tuning.standing import expected
from tune_qat.widen.ranges import Wanted, widen

ALL = ["own", "own_rate", "adam", "sgd"]
SPACE: dict[str, Any] = {"optimizers": ["adam", "sgd_clip"], "batch_size": BATCH}


def study_of(levels: list[str] = ALL, **space: Any) -> Study:
    return tiny_study(space={**SPACE, "step_optimizers": levels, **space})


def test_every_arm_has_its_trials_each_with_a_key_of_its_own_and_they_count_again() -> None:
    study = study_of()
    plans, rows = work_off(make_queue(study))
    assert len(plans) == 1 + 10 * (1 + 1 + 3 + 2)
    assert Counter(Counter(plan.arm_id for plan in plans).values()) == {7: 10, 1: 1}
    assert len({plan.trial_key for plan in plans}) == len(plans)
    again = make_queue(study, rows)
    again.start_known(again.starts[0], rows[0]["checkpoint_sha256"])
    assert again.next() is None and not again.left(), "all of it is recognised in the record"
    before = {plan.trial_key for plan in work_off(make_queue(study_of(["own"])))[0]}
    assert before < {plan.trial_key for plan in plans}, "arms of today keep their trials"


def test_what_was_searched_is_found_in_the_configuration_again() -> None:
    study = study_of()
    planner = Planner(study=study, work=workload.load("lenet5", "digits", options=study.workload.options))
    names = {"": set(), "own_rate": {"quantizer_lr_multiplier"}, "adam": {"step_rate"}, "sgd": {"step_rate"}}
    for plan in work_off(make_queue(study))[0]:
        if plan.stage == "pretrain":
            continue
        assert planner.searched_values(plan.config) == plan.values
        level = plan.arm_id.partition("steps_")[2]
        extra = set(plan.values) - {"learning_rate", "batch_size", "max_norm"}
        assert extra == names[level], plan.arm_id
        assert plan.stage in ("default", "retrain") or planner.in_range(plan)


def test_rows_say_who_moves_the_quantizers_and_that_the_trial_fits_its_arm() -> None:
    study = study_of(optimizers=["adam", "muon"])
    work = workload.load("lenet5", "digits", options=study.workload.options)
    arms = {arm.arm_id: arm_columns(study, work, arm) for arm in study.arms()}
    said = {arm_id: (row["step_optimizer"], row["steps_moved_by"]) for arm_id, row in arms.items()}
    assert said["adam-w32a32"] == (None, None)
    assert said["adam-w4a4"] == ("own", "adam")
    assert said["muon-w4a4-steps_own_rate"] == ("own_rate", "adamw at adamw_lr_ratio of the rate")
    assert said["muon-w4a4-steps_sgd"] == ("sgd", "sgd")
    plain = study_of(["own"])
    assert {arm_columns(plain, work, arm)["step_optimizer"] for arm in plain.arms()} == {None}
    for plan in work_off(make_queue(study))[0][1:]:
        recipes = json.loads(arms[plan.arm_id]["recipe_hashes_json"])
        assert planned_columns(plan, work)["recipe_hash"] in recipes, plan.arm_id


def test_recorded_recipes_of_one_fixed_rate_stay() -> None:
    training = {"epochs": 3, "quantizer_optimizer": {"learning_rate": 1e-5}}
    study = tiny_study(training=training)
    work = workload.load("lenet5", "digits", options=study.workload.options)
    for plan in work_off(make_queue(study))[0]:
        recipe = planned_columns(plan, work)["recipe_hash"]
        assert recipe == plan.config.recipe
        if plan.config.quantizer_optimizer is not None:
            other = {**plan.config.identity(), "quantizer_optimizer": None}
            assert recipe != stable_hash(other)


class TestMisfits:
    def test_a_level_that_is_no_more(self) -> None:
        said = told(study_of(), study_of(["own", "adam"]))
        assert set(said) == {
            f"7 recorded trials do not fit any more: space.step_optimizers has no {level} of {name} any more"
            for level in ("own_rate", "sgd")
            for name in ("adam", "sgd_clip")
        }

    def test_rates_beyond_todays_range(self) -> None:
        before = study_of(["own", "adam"])
        rows = recorded(before)
        after = study_of(["own", "adam"], step_rates={"adam": {"low": 2e-2, "high": 1.0}})
        (said,) = misfits(expected(make_queue(after, rows)), rows)
        assert said.endswith("outside of space.step_rates.adam")


def test_edges_and_wider_ranges(tmp_path: Path) -> None:
    study = study_of(["own", "own_rate", "adam"], optimizers=["adam"])
    record = record_of(study, tmp_path)
    best: list[dict[str, Any]] = [
        {"quantizer_lr_multiplier": 0.011},
        {"params_json": {"quantizer_optimizer": {"learning_rate": 9e-3}}},
    ]
    for arm, own in zip(("adam-w4a4-steps_own_rate", "adam-w4a4-steps_adam"), best, strict=True):
        scheme = {"scheme": {"ste": "clip_then_round", "first_last_bits": 8}}
        values: dict[str, Any] = {**own, "params_json": json.dumps({**scheme, **own.get("params_json", {})})}
        record.trial(arm, "search", val_metric=0.9, **values)
    found = analysis.frame(tmp_path, "edge_of_range").set_index(["arm_id", "dimension"])
    assert found.loc[("adam-w4a4-steps_own_rate", "quantizer_lr_multiplier"), "edge"] == "low"
    assert found.loc[("adam-w4a4-steps_adam", "step_rate"), "edge"] == "high"
    assert found.loc[("adam-w4a4-steps_adam", "step_rate"), "best"] == 9e-3
    wide = widen(tmp_path, None, Wanted())
    rates = wide.study.space.step_rates
    beyond = 1000**0.25  # a quarter of the axis, as for every dimension that is no learning rate of weights
    assert rates.own_rate.low == pytest.approx(0.01 / beyond, rel=1e-5) and rates.own_rate.high == 10  # six digits
    assert rates.adam.low == 1e-5 and rates.adam.high == 0.1, "a decade, as of any rate"
    assert wide.study.stages.search > study.stages.search
    assert "rate of step sizes, adam: 1e-05..0.01 -> 1e-05..0.1" in wide.notes


def test_a_record_is_simulated_again_with_the_curves_of_each_arm(tmp_path: Path) -> None:
    space = {"optimizers": ["adam"], "batch_size": {"low": 16, "high": 64}, "step_optimizers": ["own", "adam"]}
    study = small(space=space, quantization={"bits": [[4, 4]]})
    write_record(tmp_path, study)
    loaded = load(tmp_path, study)
    assert {key[2] for key in loaded.curves.groups} == {"", "steps_adam"}
    done = simulate(study, loaded.curves, workers=1)
    assert {run.curve.source for run in done.runs} == {"recorded"}, "each plan has the curve of its own arm"
