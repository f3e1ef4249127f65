"""Studies with micro-batches and formats: refused before the first trial, recorded, killed and gone on with."""

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.studies import tiny_study
from tests.helpers.without_ray import Killed, run_here
from tune_qat.config import UsageError
from tune_qat.results.reader import read_rows
from tune_qat.study import Study
from tune_qat.training import formats, workload
from tune_qat.tuning.checks import check_memory
from tune_qat.tuning.plan import PlannedTrial

ARM: dict[str, Any] = {
    "quantization": {"bits": [[4, 4]]},
    "space": {"optimizers": ["adam"], "batch_size": {"low": 16, "high": 32}},
}


def study_of(**training: Any) -> Study:
    """A start, a default trial and one to be retrained."""
    return tiny_study(**ARM, stages={"random": 0, "search": 1, "retrain": 1}, training={"epochs": 2, **training})


@pytest.mark.parametrize(("micro_batch", "size"), [(12, 16), (24, 32)])
def test_a_batch_that_micro_batches_do_not_divide(micro_batch: int, size: int) -> None:
    with pytest.raises(
        ValueError, match=rf"training\.micro_batch: a batch size of space\.batch_size = {size} does not"
    ):
        study_of(micro_batch=micro_batch)


def test_a_start_that_micro_batches_do_not_divide() -> None:
    with pytest.raises(ValueError, match=r"pretrain\.batch_size = 20 does not fall into micro-batches of 16"):
        tiny_study(**ARM, training={"epochs": 2, "micro_batch": 16}, pretrain={"batch_size": 20, "epochs": 2})


def test_consent_to_nothing() -> None:
    with pytest.raises(ValueError, match="micro_batch_norm belongs to micro_batch"):
        study_of(micro_batch_norm=True)


def test_batch_norm_is_said_before_the_first_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    normed = workload.load("lenet5_bn", "digits", options={"train_limit": 128})
    with pytest.raises(UsageError, match=r"its batch norm takes mean and variance .*training\.micro_batch_norm = true"):
        check_memory(study_of(micro_batch=8), normed)
    check_memory(study_of(micro_batch=8, micro_batch_norm=True), normed)
    monkeypatch.setattr(formats, "has_bfloat16", lambda device: False)
    with pytest.raises(UsageError, match=r'training\.autocast = "off"'):
        check_memory(study_of(autocast="bfloat16"), normed)


@pytest.mark.slow
def test_a_killed_study_goes_on_and_records_what_it_used(tmp_path: Path) -> None:
    study = study_of(micro_batch=8, channels_last=True)

    def kill(plan: PlannedTrial, report: dict[str, Any]) -> None:
        if plan.stage == "search" and report["epoch"] == 1:
            raise Killed

    with pytest.raises(Killed):
        run_here(study, tmp_path / "killed", watch=kill)
    run_here(study, tmp_path / "killed")
    run_here(study, tmp_path / "whole")
    killed, whole = (read_rows(tmp_path / name, "trials") for name in ("killed", "whole"))
    assert curves(killed) == curves(whole)
    assert {(row["micro_batch"], row["autocast"], row["channels_last"]) for row in whole} == {(8, "off", True)}
    # A study without these is made of the same trials, and needs none of its own.
    trained, _ = run_here(study_of(), tmp_path / "whole")
    assert trained == []


def curves(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {row["trial_key"]: (row["status"], row["train_loss"], row["val_metric"]) for row in rows}
