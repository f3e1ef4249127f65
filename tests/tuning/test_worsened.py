"""Worsened controls in a study that runs: made after the start, of it, once, and begun from by their arms alone."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

import analysis
from tests.helpers.studies import tiny_study
from tests.helpers.without_ray import Killed, run_here
from tune_qat.config import StudyHalted
from tune_qat.rerun.again import Rerun
from tune_qat.rerun.recorded import find
from tune_qat.results.layout import checkpoint_path
from tune_qat.results.reader import read_rows
from tune_qat.simulate.source import find as source_of
from tune_qat.study import Study
from tune_qat.study.cost import stage_epochs
from tune_qat.tuning.outlook import outlook

MARGIN = 0.1
"""Of accuracy, so that a quarter of it is a few of the validation digits."""
DEFAULTS = {"default": True, "search": 0, "retrain": 0}
TRIALS = 2 + 3 * (1 + 1 + 1)
"""Two starts, and three arms."""


def study_of(**changes: Any) -> Study:
    """Adam at 32/32, at 2/2 and in the control of that, beside a start that has learned something."""
    values: dict[str, Any] = {
        "quantization": {"bits": [[32, 32], [2, 2]]},
        "pretrain": {"batch_size": 16, "epochs": 8, "learning_rate": 3e-3},
        "training": {"epochs": 1},
        "space": {"optimizers": ["adam"], "batch_size": {"low": 16, "high": 32}},
        "stages": {"default": True, "random": 1, "search": 0, "retrain": 1},
        "controls": [{"kind": "worsened"}],
        "judgement": {"metric": "accuracy", "margin": MARGIN},
    }
    return tiny_study(**{**values, **changes})


def rows_of(results: Path, study: str = "tiny") -> list[dict[str, Any]]:
    return read_rows(results, "trials", study)


def starts_of(results: Path, study: str = "tiny") -> tuple[dict[str, Any], dict[str, Any]]:
    """The rows of the start, and of the one that is made of it."""
    made = [row for row in rows_of(results, study) if row["stage"] == "pretrain"]
    worse, start = sorted(made, key=lambda row: row["epochs_run"])
    return start, worse


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[str]]:
    """A results folder with the whole study, not to be changed, and the keys of its trials in their order."""
    results = tmp_path_factory.mktemp("worsened") / "results"
    trained, _ = run_here(study_of(), results)
    return results, trained


@pytest.fixture
def results(finished: tuple[Path, list[str]], tmp_path: Path) -> Path:
    return Path(shutil.copytree(finished[0], tmp_path / "results"))


class TestRecord:
    def test_the_start_is_made_before_the_arms_and_once(self, finished: tuple[Path, list[str]]) -> None:
        results, trained = finished
        start, worse = starts_of(results)
        assert trained[:2] == [start["trial_key"], worse["trial_key"]]
        assert len(trained) == len(set(trained)) == TRIALS == sum(count for _, count, _ in stage_epochs(study_of()))
        assert worse["init_checkpoint_sha256"] == start["checkpoint_sha256"] != worse["checkpoint_sha256"]
        assert run_here(study_of(), results) == ([], [f"{TRIALS} recorded, 0 new"])

    def test_arms_begin_from_their_own_start(self, finished: tuple[Path, list[str]]) -> None:
        start, worse = starts_of(finished[0])
        arms = {row["arm_id"]: row for row in read_rows(finished[0], "arms")}
        assert {name: row["init_checkpoint_sha256"] for name, row in arms.items()} == {
            "adam-w32a32": start["checkpoint_sha256"],
            "adam-w2a2": start["checkpoint_sha256"],
            "adam-w32a32-worsened_w2a2": worse["checkpoint_sha256"],
        }
        control = arms["adam-w32a32-worsened_w2a2"]
        assert (control["control"], control["control_for"], control["weight_bits"]) == ("worsened", "2/2", 32)
        assert {row["control"] for row in arms.values()} == {None, "worsened"}

    def test_the_control_begins_where_the_quantized_arms_do(self, finished: tuple[Path, list[str]]) -> None:
        start, worse = starts_of(finished[0])
        before = {
            arm: {r["stage"]: r["calibrated_metric"] for r in rows_of(finished[0]) if r["arm_id"] == arm}
            for arm in ("adam-w32a32", "adam-w2a2", "adam-w32a32-worsened_w2a2")
        }
        assert set(before["adam-w32a32"].values()) == {start["val_metric"]}
        assert set(before["adam-w32a32-worsened_w2a2"].values()) == {worse["val_metric"]}
        assert before["adam-w2a2"]["default"] == worse["calibrated_metric"], "the first seed and the default batch size"
        assert abs(worse["val_metric"] - worse["calibrated_metric"]) <= MARGIN / 4
        assert worse["calibrated_metric"] < start["val_metric"] - MARGIN / 4, "there is something to worsen"

    def test_every_trial_counts_in_its_arm(self, finished: tuple[Path, list[str]]) -> None:
        found = analysis.frame(finished[0], "SELECT arm_id, count(*) AS n FROM arm_trials GROUP BY arm_id")
        assert set(found["n"]) == {3} and len(found) == 3
        start = analysis.frame(finished[0], "start")
        assert start["pretrain_val_metric"].tolist() == [starts_of(finished[0])[0]["val_metric"]]

    def test_is_simulated_without_controls(self, finished: tuple[Path, list[str]]) -> None:
        source = source_of(str(finished[0]), None, {})
        assert {arm.control for arm in source.study.arms()} == {None}


class TestGoingOn:
    def test_a_driver_that_dies_before_the_row_of_the_start_changes_nothing(
        self, finished: tuple[Path, list[str]], tmp_path: Path
    ) -> None:
        def watch(plan: Any, report: dict[str, Any]) -> None:
            if plan.config.worsening:  # its epoch and its checkpoint are written
                raise Killed

        with pytest.raises(Killed):
            run_here(study_of(stages=DEFAULTS), tmp_path, watch=watch)
        trained, _ = run_here(study_of(stages=DEFAULTS), tmp_path)
        assert {*trained} <= {*finished[1]}
        assert self.numbers(tmp_path) == self.numbers(finished[0]), "those of the study that nothing interrupted"

    def numbers(self, results: Path) -> list[Any]:
        names = (
            "trial_key",
            "arm_id",
            "init_checkpoint_sha256",
            "calibrated_metric",
            "val_metric",
            "checkpoint_sha256",
        )
        # Which default trial's model is kept besides depends on the stages behind it.
        rows = (row for row in rows_of(results) if row["stage"] in ("pretrain", "default"))
        kept = (row if row["stage"] == "pretrain" else {**row, "checkpoint_sha256": None} for row in rows)
        return sorted([[row[name] for name in names] for row in kept], key=str)

    def test_a_start_that_is_gone_is_made_again_as_it_was(self, results: Path) -> None:
        _, worse = starts_of(results)
        checkpoint_path(results, "tiny", worse["trial_key"]).unlink()
        longer = study_of(stages={"default": True, "random": 1, "search": 0, "retrain": 2})
        trained, said = run_here(longer, results)
        assert trained[0] == worse["trial_key"] and len(trained) == 1 + 3
        assert any("does not exist" in line for line in said)
        assert starts_of(results)[1]["checkpoint_sha256"] == worse["checkpoint_sha256"]

    def test_another_study_takes_it_over(self, results: Path) -> None:
        trained, _ = run_here(study_of(name="second"), results)
        assert trained == []
        start, worse = starts_of(results, "second")
        assert worse["taken_from"] == f"tiny/{worse['trial_key']}"
        assert checkpoint_path(results, "second", worse["trial_key"]).exists()

    def test_one_that_names_no_controls_any_more(self, results: Path) -> None:
        plain = study_of(controls=[])
        said = [
            f"{TRIALS - 4} recorded, 0 new",
            "3 recorded trials do not fit any more: controls has no worsened w2a2 any more",
            "1 recorded trial does not fit any more: controls are others",
        ]
        assert sorted(outlook(plain, results)) == sorted(said)
        assert sorted(run_here(plain, results)[1]) == sorted(said)

    def test_another_margin_is_another_start(self, results: Path) -> None:
        other = study_of(judgement={"metric": "accuracy", "margin": MARGIN / 2})
        said = outlook(other, results)
        assert f"{TRIALS - 4} recorded, 4 new" in said
        assert any("judgement.margin, a quarter 0.025, now 0.0125" in line for line in said)

    @pytest.mark.slow
    def test_what_cannot_be_reached_stops_the_study_and_goes_on_without(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("tune_qat.training.worsened.DOUBLINGS", 1)
        monkeypatch.setattr("tune_qat.training.worsened.HALVINGS", 0)
        study = study_of(judgement={"metric": "accuracy", "margin": 1e-3}, stages=DEFAULTS)
        with pytest.raises(StudyHalted, match=r"2/2 bits cannot be made: .* Leave 2/2 out of the bits"):
            run_here(study, tmp_path)
        assert [row["status"] for row in rows_of(tmp_path)] == ["completed", "interrupted"]
        trained, _ = run_here(study.model_copy(update={"controls": []}), tmp_path)
        assert len(trained) == 2, "the start is kept"


def test_a_study_that_begins_from_a_path(results: Path) -> None:
    path = checkpoint_path(results, "tiny", starts_of(results)[0]["trial_key"])
    study = study_of(name="path", pretrain=None, training={"epochs": 1, "init": "path", "init_path": str(path)})
    run_here(study, results)
    worse, control = (
        [row for row in rows_of(results, "path") if (row["arm_id"], row["stage"]) == which]
        for which in (("pretrain", "pretrain"), ("adam-w32a32-worsened_w2a2", "default"))
    )
    # The same weights, and so the same trials, but for the design of the search.
    assert [row["taken_from"] for row in worse] == [f"tiny/{starts_of(results)[1]['trial_key']}"]
    assert [row["taken_from"] for row in control] == [f"tiny/{control[0]['trial_key']}"]


@pytest.mark.slow
def test_repeats_have_starts_of_their_own(tmp_path: Path) -> None:
    study = study_of(repeats=2, stages=DEFAULTS)
    trained, _ = run_here(study, tmp_path)
    assert len(trained) == 1 + 2 + 6
    configs = [json.loads(row["params_json"]) for row in rows_of(tmp_path) if row["stage"] == "pretrain"]
    assert len({config["seed"] for config in configs if config["worsening"]}) == 2
    arms = {row["arm_id"]: row["init_checkpoint_sha256"] for row in read_rows(tmp_path, "arms")}
    assert len({arms["adam-w32a32-worsened_w2a2"], arms["adam-w32a32-worsened_w2a2-r2"], arms["adam-w2a2"]}) == 3


@pytest.mark.parametrize("which", ["the worsened start", "a trial of its arm"])
def test_runs_again_from_its_record(which: str, finished: tuple[Path, list[str]]) -> None:
    results = finished[0]
    _, worse = starts_of(results)
    control = next(row for row in rows_of(results) if row["init_checkpoint_sha256"] == worse["checkpoint_sha256"])
    rerun = Rerun(find(results, (worse if which == "the worsened start" else control)["trial_key"]))
    assert list(rerun.epochs()) and rerun.verdict().same
