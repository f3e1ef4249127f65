"""Optuna studies, read back by Optuna."""

from pathlib import Path

import optuna
import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from tests.trackers.small import rows_of, search_trial, small_record
from tune_qat.config import TuneQatError, UsageError
from tune_qat.trackers import optuna_studies
from tune_qat.trackers.recorded import recorded

NAME = "whole m-d w4a4 lsq"
STATES = {"completed": TrialState.COMPLETE, "stopped": TrialState.PRUNED} | dict.fromkeys(
    ("diverged", "oom", "error"), TrialState.FAIL
)


def export(results: Path, out: Path | str) -> tuple[int, int]:
    return optuna_studies.export(recorded(results, "small"), str(out))


def load(out: Path) -> optuna.Study:
    """From a journal file, which is made in no time; a database has a schema."""
    backend = optuna.storages.journal.JournalFileBackend(str(out))
    return optuna.load_study(study_name=NAME, storage=optuna.storages.JournalStorage(backend))


def test_trials_have_the_values_states_and_distributions_of_the_record(tmp_path: Path) -> None:
    small_record(tmp_path / "results")
    assert export(tmp_path / "results", tmp_path / "optuna.log") == (6, 6)
    study = load(tmp_path / "optuna.log")
    assert (study.direction.name, study.metric_names) == ("MAXIMIZE", ["accuracy"])
    rows = rows_of(tmp_path / "results")
    assert len(study.trials) == 6  # neither the start, nor a calibrated trial, nor one that still runs
    for trial in study.trials:
        row, epochs = rows[trial.user_attrs["trial_key"]]
        assert trial.state == STATES[row["status"]]
        assert trial.value == row["val_metric"]
        known = {one["epoch"]: one["val_metric"] for one in epochs if one["val_metric"] is not None}
        assert trial.intermediate_values == known
        assert trial.params == {name: row[name] for name in ("optimizer", "learning_rate", "batch_size")}
        assert trial.distributions == {
            "optimizer": CategoricalDistribution(("adam", "sgd")),
            "learning_rate": FloatDistribution(1e-5, 1.0, log=True),
            "batch_size": IntDistribution(8, 64, log=True),
        }
        moments = trial.datetime_start, trial.datetime_complete
        assert [one and one.astimezone() for one in moments] == [row["started_at"], row["finished_at"]]
        assert (trial.user_attrs["stage"], trial.user_attrs["status"]) == (row["stage"], row["status"])
        assert trial.user_attrs.get("test_accuracy") == row["test_metric"]
        assert trial.user_attrs.get("seed") == row["seed"]


def test_a_study_that_went_on_gets_what_is_new_alone(tmp_path: Path) -> None:
    study, out = small_record(tmp_path / "results"), tmp_path / "optuna.log"
    export(tmp_path / "results", out)
    assert export(tmp_path / "results", out) == (6, 0)
    first = load(out).trials
    running = next(key for key, (row, _) in rows_of(tmp_path / "results").items() if row["status"] == "running")
    search_trial(study, "adam-w4a4", "completed", trial_key=running)
    failed = next(key for key, (row, _) in rows_of(tmp_path / "results").items() if row["status"] == "error")
    search_trial(study, "adam-w4a4", "completed", trial_key=failed)  # run again, with success
    assert export(tmp_path / "results", out) == (7, 2)
    assert load(out).trials[:6] == first
    assert [trial.user_attrs["trial_key"] for trial in load(out).trials[6:]] == sorted([running, failed])


def test_another_optimizer_keeps_the_trials_that_are_there(tmp_path: Path) -> None:
    """Optuna's choices cannot grow."""
    study, out = small_record(tmp_path / "results"), tmp_path / "optuna.log"
    export(tmp_path / "results", out)
    before = load(out).trials
    study.arm("lamb", method="lsq", whole="whole", repeat=0)
    key = search_trial(study, "lamb-w4a4", "completed")
    assert export(tmp_path / "results", out) == (7, 1)
    after = load(out).trials
    kept = {one.user_attrs["trial_key"]: (one.params, one.values, one.intermediate_values, one.state) for one in after}
    for one in before:
        known = one.params, one.values, one.intermediate_values, one.state
        assert kept[one.user_attrs["trial_key"]] == known
    assert len(after) == 7 and kept[key][0]["optimizer"] == "lamb"
    assert export(tmp_path / "results", out) == (7, 0)


@pytest.mark.slow
def test_a_database_holds_the_same(tmp_path: Path) -> None:
    small_record(tmp_path / "results")
    for out in ("optuna.db", "optuna.log"):
        export(tmp_path / "results", tmp_path / out)
    study = optuna.load_study(study_name=NAME, storage=f"sqlite:///{tmp_path}/optuna.db")
    for one, other in zip(study.trials, load(tmp_path / "optuna.log").trials, strict=True):
        known = other.params, other.values, other.state, other.user_attrs, other.intermediate_values
        assert (one.params, one.values, one.state, one.user_attrs, one.intermediate_values) == known
    assert export(tmp_path / "results", f"sqlite:///{tmp_path}/optuna.db") == (6, 0)


def test_what_something_else_wrote_is_left_alone(tmp_path: Path) -> None:
    small_record(tmp_path / "results")
    backend = optuna.storages.journal.JournalFileBackend(str(tmp_path / "optuna.log"))
    other = optuna.create_study(study_name=NAME, storage=optuna.storages.JournalStorage(backend))
    other.add_trial(optuna.create_trial(value=1.0))
    with pytest.raises(UsageError, match="that something else wrote"):
        export(tmp_path / "results", tmp_path / "optuna.log")
    (tmp_path / "notes.txt").write_text("not of Optuna")
    with pytest.raises(UsageError, match=r"notes\.txt is a file that Optuna did not write"):
        export(tmp_path / "results", tmp_path / "notes.txt")
    with pytest.raises(UsageError, match="is a folder. Name a file"):
        export(tmp_path / "results", tmp_path)
    with pytest.raises(TuneQatError, match="cannot be written as an Optuna storage") as refused:
        export(tmp_path / "results", "nosuchbase://me:secret@host/name")
    assert "secret" not in str(refused.value)
