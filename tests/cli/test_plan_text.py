"""What `plan` says of a study before it runs."""

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.records import SmallStudy, record_of
from tests.helpers.studies import tiny_study
from tests.helpers.study_files import write
from tune_qat.cli.plan_text import describe
from tune_qat.config import UsageError
from tune_qat.study import Study
from tune_qat.study.cost import trial_epochs

NOWHERE = Path("nowhere")


@pytest.fixture
def load(tmp_path: Path) -> Any:
    path = write(tmp_path)
    return lambda overrides=None: Study.load(path, overrides)


def lines_of(text: str, start: str) -> list[str]:
    return [line for line in text.splitlines() if line.strip().startswith(start)]


def test_arms_bits_and_metric_are_named(load: Any) -> None:
    text = describe(load(), NOWHERE)
    assert "study small: lenet5 on digits, accuracy" in text
    assert "bits of weights/activations: none at 32/32; lsq at 4/4" in text
    assert "4 arms: adam-w32a32, nesterov-w32a32, adam-w4a4, nesterov-w4a4" in text
    assert "one sampler and one ASHA per arm" in text


def test_joint_mode_is_no_comparison(load: Any) -> None:
    text = describe(load({"mode": "joint"}), NOWHERE)
    assert "joint mode (one sampler over all optimizers)" in text
    assert "2 arms: joint-w32a32, joint-w4a4" in text


def test_ranges_are_those_that_are_searched(load: Any) -> None:
    text = describe(load({"space.per_optimizer.adam.learning_rate.low": 1e-6}), NOWHERE)
    assert lines_of(text, "adam ") == ["  adam      learning_rate 1e-06..0.1, batch_size 8..64 (powers of two)"]
    assert "momentum 0.5..0.99 (linear)" in lines_of(text, "nesterov ")[0]


def test_a_schedule_of_an_optimizers_own_is_said(load: Any) -> None:
    text = describe(load({"space.optimizers": ["schedule_free_sgd", "prodigy"]}), NOWHERE)
    assert lines_of(text, "schedule_free_sgd ")[0].endswith(
        "batch_size 8..64 (powers of two); constant schedule, its own"
    )
    assert lines_of(text, "prodigy ") == ["  prodigy            batch_size 8..64 (powers of two), d_coef 0.1..10"]
    constant = {"space.optimizers": ["schedule_free_sgd"], "training.schedule": "constant"}
    assert "its own" not in describe(load(constant), NOWHERE)


def test_stages_say_how_many_trials_and_epochs_and_where_asha_looks(load: Any) -> None:
    text = describe(load({"stages.random": 2}), NOWHERE)
    assert lines_of(text, "default ") == ["  default       4 trials x 9 epochs = 36 epochs"]
    assert lines_of(text, "random ") == ["  random        8 trials x 9 epochs = 72 epochs"]
    assert lines_of(text, "search ") == [
        "  search       24 trials x 9 epochs = 216 epochs at most, ASHA looks at epoch 1, 3"
    ]
    assert "cost: 48 trials, at most 432 trial-epochs" in text


@pytest.mark.parametrize("change", [{"asha.enabled": False}, {"asha.grace_epochs": 9}, {"training.epochs": 1}])
def test_a_search_that_nothing_stops_is_not_said_to_be(load: Any, change: dict[str, Any]) -> None:
    assert "ASHA looks" not in describe(load(change), NOWHERE)


def test_asha_looks_where_the_recorded_study_began(load: Any, tmp_path: Path) -> None:
    study = load({"training.init": "pretrain", "pretrain": {"batch_size": 8, "epochs": 5}})
    assert "ASHA looks at epoch 5" in describe(study, tmp_path / "results")
    record_of(study, tmp_path / "results", scheduler="asha", max_epochs=9, grace_epochs=1)
    text = describe(study, tmp_path / "results")
    assert "ASHA looks at epoch 1, 3" in text and "stays at epoch 1 of 9, as this study began" in text


def test_the_sum_of_epochs_is_the_cost(load: Any) -> None:
    study = load({"training.init": "pretrain", "pretrain": {"batch_size": 8, "epochs": 5}})
    assert trial_epochs(study) == 5 + 4 * 9 * (1 + 6 + 3)


class TestMinutes:
    def test_are_not_known_without_a_record(self, load: Any, tmp_path: Path) -> None:
        (tmp_path / "trials" / "study_id=empty").mkdir(parents=True)
        for results in (NOWHERE, tmp_path, Path(write(tmp_path))):
            assert f"no trial of this workload in {results}/ yet, so minutes are not known" in describe(load(), results)

    def test_come_from_trials_of_the_workload_of_any_study(self, load: Any, tmp_path: Path) -> None:
        for name, workload, seconds in (
            ("one", "lenet5-digits", 10.0),
            ("two", "lenet5-digits", 26.0),
            ("x", "m-d", 99),
        ):
            study = SmallStudy(tmp_path, name)
            study.trial(study.arm("adam", workload=workload), "default", device_s=seconds, epochs_run=4)
        # 360 epochs of (10 + 26) / 8 s.
        assert "about 27.0 device-minutes at 4.5 s an epoch" in describe(load(), tmp_path)

    def test_are_not_known_from_trials_that_trained_nothing(self, load: Any, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "one")
        study.trial(study.arm("adam", workload="lenet5-digits"), "default", "error", device_s=None, epochs_run=0)
        assert "minutes are not known" in describe(load(), tmp_path)

    def test_a_record_of_another_version_is_not_read(
        self, load: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        study = SmallStudy(tmp_path, "one")
        with monkeypatch.context() as patch:
            patch.setattr("tune_qat.results.writer.SCHEMA_VERSION", 999)
            study.arm("adam")
            study.trial("adam-w4a4", "default")
        with pytest.raises(UsageError, match="schema version 999"):
            describe(load(), tmp_path)


@pytest.mark.xdist_group("ended")
def test_an_edited_study_is_told_what_is_recorded_and_what_does_not_fit_any_more(ended: tuple[Study, Path]) -> None:
    study, results = ended
    assert (
        describe(study, results).split("\n\n")[-1] == f"in {results}/: reuses 17 recorded, takes over nothing, runs 0"
    )
    longer = study.model_copy(update={"training": study.training.model_copy(update={"epochs": 6})})
    assert describe(longer, results).split("\n\n")[-1].splitlines() == [
        f"in {results}/: reuses 1 recorded, takes over nothing, runs 16",
        "  16 recorded trials do not fit any more: training.epochs 3, now 6",
    ]
    other = study.model_copy(update={"name": "other"})
    said = f"in {results}/: reuses nothing, takes over 5 from tiny, runs 12"
    assert describe(other, results).split("\n\n")[-1] == said
    assert describe(other, NOWHERE).split("\n\n")[-1] == "in nowhere/: reuses nothing, takes over nothing, runs 17"


def test_repeats_are_told_once_for_all_arms(tmp_path: Path) -> None:
    study = tiny_study(repeats=2, repeat={"varies": ["design", "order"], "first": 3, "study": "whole"})
    text = describe(study, tmp_path)
    assert (
        "8 arms: adam-w32a32, sgd_clip-w32a32, adam-w4a4, sgd_clip-w4a4; repeats 3 to 4 of whole, each with its own "
        "design, order" in text
    )
