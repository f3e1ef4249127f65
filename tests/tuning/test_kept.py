"""Which trained models stay: `stages.keep`, through whole studies and through a driver that dies in between."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.helpers.studies import tiny_study
from tests.helpers.without_ray import Killed, run_here
from tests.tuning.test_queue import INIT, make_queue, work_off
from tune_qat.cli.run_summary import ending
from tune_qat.config import UsageError
from tune_qat.export.choice import choose
from tune_qat.export.trained import load_trained
from tune_qat.results.reader import read_rows
from tune_qat.study import Study
from tune_qat.tuning.kept import Kept
from tune_qat.tuning.plan import PlannedTrial
from tune_qat.tuning.record import Record


def study_of(keep: str, retrain: int, name: str = "keeping") -> Study:
    """Two arms of a default and two search trials; nothing is stopped."""
    return tiny_study(
        name=name,
        training={"epochs": 1},
        pretrain={"batch_size": 32, "epochs": 1},
        asha={"enabled": False},
        quantization={"bits": [[4, 4]]},
        stages={"search": 2, "retrain": retrain, "keep": keep},
    )


def models(results: Path, study: Study) -> set[str]:
    """The trials whose checkpoint is there."""
    return {path.parent.name for path in (results / f"checkpoints/study_id={study.name}").glob("*/last.pt")}


def best_of(rows: list[dict[str, Any]]) -> set[str]:
    """The best trial of each arm."""
    of_arm: dict[str, tuple[float, str]] = {}
    for row in rows:
        if row["stage"] != "pretrain":
            one = row["val_metric"], row["trial_key"]
            of_arm[row["arm_id"]] = max(of_arm.get(row["arm_id"], one), one)
    return {key for _, key in of_arm.values()}


def test_which_stages_have_models() -> None:
    found = {(keep, n): study_of(keep, n).kept_stages for keep in ("retrain", "best", "all") for n in (0, 2)}
    assert found["retrain", 2] == found["best", 2] == ("pretrain", "retrain")
    assert found["retrain", 0] == found["best", 0] == ("pretrain", "default", "random", "search", "finalists")
    assert set(found["all", 0]) == set(found["all", 2]) >= {"pretrain", "default", "search", "retrain"}
    assert (study_of("retrain", 0).keep, study_of("retrain", 2).keep, study_of("all", 0).keep) == (
        "best",
        "retrain",
        "all",
    )


@pytest.mark.slow
def test_without_retrain_trials_the_best_of_each_arm_stays_and_can_be_exported(tmp_path: Path) -> None:
    study = study_of("retrain", 0)
    run_here(study, tmp_path)
    rows = read_rows(tmp_path, "trials")
    start = {row["trial_key"] for row in rows if row["stage"] == "pretrain"}
    best = best_of(rows)
    assert models(tmp_path, study) == start | best and len(best) == 2
    for key in best:
        trained = load_trained(tmp_path, choose(tmp_path, key))
        assert trained.trial_key == key
    with pytest.raises(UsageError, match=f"Models of other trials are kept, of which --best .*({'|'.join(best)})"):
        choose(tmp_path, None)
    (first,) = [
        row for row in rows if row["trial_key"] in best and row["val_metric"] == max(r["val_metric"] for r in rows)
    ]
    chosen = choose(tmp_path, None, of_search=True)
    assert chosen.trial_key == first["trial_key"]
    assert "It is the best of 6 trials on validation data" in chosen.words and "stages.retrain=3" in chosen.words
    outcome: Any = SimpleNamespace(results=tmp_path, complete=True, seconds=60.0, stopped_by=None, spent=None)
    screen = ending(study, outcome, results=tmp_path, again="tune-qat run keeping.toml")
    assert "on validation data, the best of 6 trials, so optimistic" in screen
    assert "\n  tune-qat run keeping.toml --set stages.retrain=3\n" in screen
    assert f"\n  tune-qat export {tmp_path} --best -o model.onnx\n" in screen
    assert f"\n  tune-qat report {tmp_path} -o report.html\n" in screen


@pytest.mark.slow
def test_all_of_them_stay_and_another_study_takes_them_over(tmp_path: Path) -> None:
    study = study_of("all", 1)
    run_here(study, tmp_path)
    rows = read_rows(tmp_path, "trials")
    assert models(tmp_path, study) == {row["trial_key"] for row in rows} and len(rows) == 1 + 2 * (1 + 2 + 1)
    trained, _ = run_here(study_of("all", 1, "second"), tmp_path)
    assert trained == []
    assert models(tmp_path, study_of("all", 1, "second")) == models(tmp_path, study)
    # What keeps less takes the rows over, and leaves out the models.
    trained, _ = run_here(study_of("retrain", 1, "third"), tmp_path)
    assert trained == []
    assert len(models(tmp_path, study_of("retrain", 1, "third"))) == 1 + 2


@pytest.mark.slow
def test_a_driver_that_dies_before_it_removes_one_leaves_both(tmp_path: Path, monkeypatch: Any) -> None:
    study, removed = study_of("best", 0), list[str]()
    forget = Record.forget_checkpoint

    def dies(record: Record, plan: PlannedTrial) -> None:
        removed.append(plan.trial_key)
        raise Killed

    monkeypatch.setattr(Record, "forget_checkpoint", dies)
    with pytest.raises(Killed):
        run_here(study, tmp_path)
    recorded = {row["trial_key"] for row in read_rows(tmp_path, "trials") if row["status"] == "completed"}
    assert set(removed) <= models(tmp_path, study) and set(removed) <= recorded, "its row is there, and so is the model"
    monkeypatch.setattr(Record, "forget_checkpoint", forget)
    run_here(study, tmp_path)
    rows = read_rows(tmp_path, "trials")
    assert models(tmp_path, study) == best_of(rows) | {row["trial_key"] for row in rows if row["stage"] == "pretrain"}


class TestTheBestRetrainTrial:
    """By made-up rows: an arm's choice may change when its study goes on."""

    def trials(self) -> tuple[Study, list[PlannedTrial]]:
        study = study_of("best", 3)
        plans, _ = work_off(make_queue(study))
        return study, [plan for plan in plans if plan.stage == "retrain" and plan.arm_id == "adam-w4a4"]

    def row(self, metric: float | None, **more: Any) -> dict[str, Any]:
        return {"status": "completed", "val_metric": metric, "checkpoint_sha256": INIT, **more}

    @pytest.mark.parametrize("sign", [1, -1])
    def test_a_better_one_replaces_it_and_a_worse_one_goes(self, sign: int) -> None:
        study, (one, two, three) = self.trials()
        kept = Kept(study, sign)
        assert kept.superseded(one, self.row(sign * 0.5)) == []
        assert kept.superseded(two, self.row(sign * 0.4)) == [two]
        assert kept.superseded(three, self.row(sign * 0.6)) == [one]

    def test_one_that_diverged_goes(self) -> None:
        study, (one, two, _) = self.trials()
        kept = Kept(study, 1)
        assert kept.superseded(one, self.row(0.5)) == []
        assert kept.superseded(two, self.row(None, status="diverged", checkpoint_sha256=None)) == [two]

    def test_of_another_choice_replaces_it_whatever_its_metric(self) -> None:
        study, (one, two, three) = self.trials()
        other = replace(two, config=replace(two.config, learning_rate=0.5), trial_key="other")
        kept = Kept(study, 1)
        assert kept.superseded(one, self.row(0.5)) == []
        assert kept.superseded(other, self.row(0.1)) == [one]
        again = Kept(study, 1)
        done = [(other, self.row(0.1)), (one, self.row(0.5)), (three, self.row(0.4))]
        assert again.swept(done, {other.config.config_id}) in ([one, three], [three, one])

    def test_records_of_earlier_versions_keep_what_they_have(self) -> None:
        study, (one, *_) = self.trials()
        assert Kept(study, 1).superseded(one, self.row(0.5, checkpoint_sha256=None)) == []
