"""The stage `calibrated`: planned once for arms that share a model, evaluated as trials begin, and ranked nowhere."""

import json
import shutil
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import analysis
from tests.helpers.studies import tiny_study
from tests.helpers.without_ray import Killed, run_here
from tests.tuning.test_queue import make_queue, row_of, work_off
from tune_qat.cli.plan_text import describe
from tune_qat.cli.status_text import describe as status
from tune_qat.config import TrialConfig, UsageError
from tune_qat.rerun.recorded import find
from tune_qat.results.reader import read_rows
from tune_qat.study import Study
from tune_qat.study.calibrated import most_calibrated
from tune_qat.study.cost import stage_epochs
from tune_qat.tuning.plan import PlannedTrial

CALIBRATED = "calibrated"


def study_of(name: str = "with_it", *, calibrated: bool = True, **changes: Any) -> Study:
    """Two optimizers at 32/32 and 4/4: a default, two search and two retrain trials each."""
    return tiny_study(
        **{
            "name": name,
            "training": {"epochs": 1},
            "pretrain": {"batch_size": 32, "epochs": 1},
            "asha": {"enabled": False},
            "space": {"optimizers": ["adam", "sgd_clip"], "batch_size": {"low": 16, "high": 32}},
            "stages": {"search": 2, "retrain": 2, "calibrated": calibrated},
            **changes,
        }
    )


def small(name: str = "with_it") -> Study:
    """One optimizer at 32/32 and 4/4, without a search: to be trained."""
    stages = {"search": 0, "retrain": 2, "calibrated": True}
    return study_of(name, stages=stages, space={"optimizers": ["adam"], "batch_size": {"low": 16, "high": 32}})


def of_stage(results: Path, study: Study, stage: str = CALIBRATED) -> list[dict[str, Any]]:
    return [row for row in read_rows(results, "trials", study.name) if row["stage"] == stage]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A results folder with the study, complete. Nothing in it may be changed: copy it."""
    results = tmp_path_factory.mktemp("calibrated") / "results"
    run_here(small(), results)
    return results


class TestTheQueue:
    def plans(self, study: Study) -> tuple[list[PlannedTrial], list[dict[str, Any]], Any]:
        queue = make_queue(study)
        plans, rows = work_off(queue)
        assert queue.finished and queue.remaining() == 0 == queue.left()
        return plans, rows, queue

    def test_one_for_each_scheme_start_seed_and_batch_size_that_an_arm_chose(self) -> None:
        plans, _, _ = self.plans(study_of())
        found = [plan for plan in plans if plan.stage == CALIBRATED]
        retrained = [plan.config for plan in plans if plan.stage == "retrain"]
        wanted = {(c.scheme, c.batch_size, c.seed) for c in retrained if not c.scheme.is_float}
        quantized = [plan.config for plan in found if not plan.config.scheme.is_float]
        assert len(quantized) == len(wanted) and {(c.scheme, c.batch_size, c.seed) for c in quantized} == wanted
        assert sum(plan.config.scheme.is_float for plan in found) == 1, "nothing is calibrated at 32/32"
        assert len({plan.trial_key for plan in found}) == len(found)
        assert {plan.arm_id for plan in found} == {CALIBRATED}

    def test_arms_share_what_they_chose_alike(self) -> None:
        same = {"optimizers": ["adam", "sgd_clip"], "batch_size": {"low": 16, "high": 16}}
        plans, _, _ = self.plans(study_of(space=same))
        assert Counter(plan.stage for plan in plans)[CALIBRATED] == 1 + 2, "the start, and two seeds at 4/4"

    def test_it_is_in_no_study_that_does_not_ask_and_changes_no_other_trial(self) -> None:
        without, *_ = self.plans(study_of(calibrated=False))
        with_it, *_ = self.plans(study_of())
        assert [plan.trial_key for plan in with_it if plan.stage != CALIBRATED] == [plan.trial_key for plan in without]

    def test_a_complete_study_that_asks_for_it_has_nothing_else_to_do(self) -> None:
        _, rows, _ = self.plans(study_of(calibrated=False))
        queue = make_queue(study_of(), rows)
        queue.start_known(queue.starts[0], rows[0]["checkpoint_sha256"])
        left = queue.remaining()
        plans, _ = work_off(queue)
        assert {plan.stage for plan in plans} == {CALIBRATED} and len(plans) == left > 0

    def test_recorded_ones_are_not_planned_again_but_cut_off_ones_are(self) -> None:
        plans, rows, _ = self.plans(study_of())
        key = next(plan.trial_key for plan in plans if plan.stage == CALIBRATED)
        rows = [row | ({"status": "interrupted"} if row["trial_key"] == key else {}) for row in rows]
        queue = make_queue(study_of(), rows)
        queue.start_known(queue.starts[0], rows[0]["checkpoint_sha256"])
        assert [plan.trial_key for plan in work_off(queue)[0]] == [key]

    def test_it_waits_for_the_choice_and_counts_as_left_until_then(self) -> None:
        study = study_of()
        queue = make_queue(study)
        assert queue.remaining() == sum(trials for _, trials, _ in stage_epochs(study))
        plan = queue.next()
        assert plan is not None
        queue.ended(plan, row_of(plan))
        while (plan := queue.next()) is not None and plan.stage != "retrain":
            assert plan.stage != CALIBRATED
            queue.ended(plan, row_of(plan, metric=0.5))

    def test_errors_count_like_others(self) -> None:
        queue = make_queue(study_of(max_failed_trials=0))
        while (plan := queue.next()) is not None and plan.stage != CALIBRATED:
            queue.ended(plan, row_of(plan))
        assert plan is not None
        queue.ended(plan, row_of(plan, status="error", metric=None))
        assert queue.failure and queue.closed

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"training": {"epochs": 1, "init": "scratch"}}, "stages.calibrated: needs a start"),
            ({"stages": {"search": 2, "retrain": 0, "calibrated": True}}, "stages.calibrated: evaluates the seeds"),
        ],
    )
    def test_what_it_needs(self, changes: dict[str, Any], words: str) -> None:
        with pytest.raises((UsageError, ValueError), match=words):
            study_of(**changes)

    def test_the_plan_says_what_it_takes_at_most(self) -> None:
        study = study_of()
        assert most_calibrated(study) == 1 + 2 * 2  # the start, and two seeds at two batch sizes
        assert (CALIBRATED, 5, 0) in list(stage_epochs(study))
        text = describe(study, Path("nowhere"))
        assert "calibrated     5 evaluations at most, without an epoch" in text


@pytest.mark.slow
class TestAStudy:
    def test_rows_are_of_the_models_that_retrain_trials_began_with(self, finished: Path) -> None:
        rows, trained = of_stage(finished, small()), of_stage(finished, small(), "retrain")
        began = {(row["weight_bits"], row["batch_size"], row["seed"]): row["calibrated_metric"] for row in trained}
        quantized = [row for row in rows if row["weight_bits"] == 4]
        for row in quantized:
            assert row["val_metric"] == row["calibrated_metric"] == began[4, row["batch_size"], row["seed"]]
        (start,) = (row for row in rows if row["weight_bits"] == 32)
        assert start["val_metric"] == of_stage(finished, small(), "pretrain")[0]["val_metric"]
        assert {row["seed"] for row in quantized} == {row["seed"] for row in trained}
        for row in rows:
            assert row["test_metric"] is not None and row["test_n"] > 0 and row["status"] == "completed"
            nothing = ("optimizer", "learning_rate", "weight_decay", "momentum", "checkpoint_sha256")
            assert {row[name] for name in nothing} == {None}
            assert (row["epochs"], row["epochs_run"], row["arm_id"]) == (0, 0, CALIBRATED)
            assert TrialConfig.of_record(row["trial_key"], row["params_json"]).batch_size == row["batch_size"]
        keys = {row["trial_key"] for row in rows}
        assert keys.isdisjoint(row["trial_key"] for row in read_rows(finished, "epochs"))

    def test_nothing_that_ranks_sees_it(self, finished: Path, tmp_path: Path) -> None:
        without = Path(shutil.copytree(finished, tmp_path / "results"))
        for row in of_stage(without, small()):
            (without / f"trials/study_id=with_it/{row['trial_key']}.parquet").unlink()
        asked, plain = (analysis.answers(one) for one in (finished, without))
        for name in ("leaderboard", "retrain_scores", "tuning_scores", "edge_of_range", "quantization_effect"):
            ours, theirs = asked.frame(name), plain.frame(name)
            assert len(ours) and json.loads(ours.to_json()) == json.loads(theirs.to_json()), name
        assert "no answer counts" not in status(finished) and "replaced" not in status(finished)
        assert "calibrated models: " in status(finished)

    def test_another_study_takes_them_over(self, finished: Path, tmp_path: Path) -> None:
        results = Path(shutil.copytree(finished, tmp_path / "results"))
        trained, _ = run_here(small("second"), results)
        assert trained == []
        ours, theirs = of_stage(results, small("second")), of_stage(results, small())
        same = (
            "trial_key",
            "val_metric",
            "test_metric",
            "test_n",
            "learned",
            "device_s",
            "batch_size",
            "seed",
            "epochs",
        )
        assert [{name: row[name] for name in same} for row in ours] == [
            {name: row[name] for name in same} for row in theirs
        ]
        assert all(row["taken_from"] == f"with_it/{row['trial_key']}" for row in ours)

    def test_a_run_that_dies_in_it_goes_on(self, tmp_path: Path) -> None:
        def dies(plan: PlannedTrial, report: dict[str, Any]) -> None:
            if plan.stage == CALIBRATED:
                raise Killed

        with pytest.raises(Killed):
            run_here(small(), tmp_path, watch=dies)
        assert [row["status"] for row in of_stage(tmp_path, small())] == ["running"]
        trained, _ = run_here(small(), tmp_path)
        rows = of_stage(tmp_path, small())
        assert sorted(trained) == sorted(row["trial_key"] for row in rows)
        assert {row["status"] for row in rows} == {"completed"} and 1 in {row["n_restarts"] for row in rows}
        again, _ = run_here(small(), tmp_path)
        assert again == []

    def test_it_is_not_run_again_by_itself(self, finished: Path) -> None:
        with pytest.raises(UsageError, match="is a calibrated model that was not trained"):
            find(finished, of_stage(finished, small())[0]["trial_key"])
