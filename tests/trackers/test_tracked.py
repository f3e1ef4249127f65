"""What tools are told of a trial, whichever they are."""

from pathlib import Path

import pytest

from tests.trackers.small import small_record
from tune_qat.config import TuneQatError, UsageError
from tune_qat.results.compaction import compact
from tune_qat.results.schema import EPOCHS, TRIALS
from tune_qat.trackers.recorded import recorded, studies
from tune_qat.trackers.tracked import CURVES, FINALS, IDENTITY, OUTCOME, PARAMETERS, tracked

NO_CURVE = {"trial_key", "attempt", "epoch", "status", "diverged_at_step", "test_n", "test_correct", "test_images_json"}


def test_every_column_of_an_epoch_is_a_curve_or_known_to_be_none() -> None:
    assert set(CURVES) | NO_CURVE == set(EPOCHS.names) and not set(CURVES) & NO_CURVE


def test_names_are_columns() -> None:
    named = {*PARAMETERS, *FINALS, *OUTCOME, *IDENTITY}
    assert named - {"study_id"} <= set(TRIALS.names)


def test_a_trial_that_has_not_ended_has_neither_outcome_nor_final_values(tmp_path: Path) -> None:
    small_record(tmp_path)
    runs = {run.outcome.get("status", "none"): run for run in map(tracked, recorded(tmp_path, "small"))}
    assert set(runs) == {"completed", "stopped", "diverged", "oom", "error", "none"}
    assert runs["none"].finals == {} and [point.epoch for point in runs["none"].points] == [0, 1, 2]
    # Its last epoch has a metric of an earlier one at most, which is no result.
    assert "when_ended/val_accuracy" not in runs["diverged"].finals


def test_a_loss_that_trials_are_judged_by_is_not_mixed_with_the_loss(tmp_path: Path) -> None:
    study = small_record(tmp_path)
    study.arm("lamb", metric="loss", sign=-1)
    key = study.trial("lamb-w4a4", "search", val_metric=0.5, val_loss=0.25)
    (run,) = (run for run in map(tracked, recorded(tmp_path, "small")) if run.key == key)
    assert (run.finals["when_ended/val_loss_metric"], run.finals["when_ended/val_loss"]) == (0.5, 0.25)


def test_a_compacted_record_says_the_same(tmp_path: Path) -> None:
    small_record(tmp_path)
    before = list(map(tracked, recorded(tmp_path, "small")))
    compact(tmp_path)
    assert list(map(tracked, recorded(tmp_path, "small"))) == before


def test_a_study_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(TuneQatError, match="holds no trials of a study"):
        studies(tmp_path)
    small_record(tmp_path)
    with pytest.raises(UsageError, match="has no study 'smal'. Did you mean 'small'"):
        studies(tmp_path, "smal")
