"""Optuna studies that really ran, imported: the questions say what Optuna itself says."""

import json
import math
import statistics
from collections import defaultdict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import optuna
import pandas as pd
import pytest
from optuna.storages import BaseStorage

import analysis
from tests.importing.sweeps import journal, sqlite, sweep, typed
from tune_qat.results.reader import read_rows

STATUS = {"COMPLETE": "completed", "PRUNED": "stopped", "FAIL": "error"}


@pytest.fixture(scope="module", autouse=True)
def quiet() -> Iterator[None]:
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    yield
    optuna.logging.set_verbosity(before)


@pytest.fixture(scope="module", params=[(sqlite, False), (sqlite, True), (journal, False), (journal, True)])
def imported(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, quiet: None
) -> tuple[optuna.Study, Path]:
    """A study, and the results that it was imported into."""
    storage, minimize = request.param
    folder = tmp_path_factory.mktemp("study")
    opened, typed_as = storage(folder)
    study = sweep(opened, minimize=minimize)
    results = folder / "results"
    done = typed("import", "optuna", typed_as, "--results", str(results))
    assert done.exit_code == 0, done.exception
    return study, results


def rate(trial: optuna.trial.FrozenTrial) -> float:
    return float(trial.params[f"{trial.params['optimizer'].lower()}_lr"])


def test_every_trial_is_there_as_it_ended(imported: tuple[optuna.Study, Path]) -> None:
    study, results = imported
    rows = sorted(read_rows(results, "trials"), key=lambda row: row["trial_number"])
    assert len(rows) == len(study.trials) == 24
    for row, trial in zip(rows, study.trials, strict=True):
        expected = "diverged" if trial.number == 5 else STATUS[trial.state.name]
        assert row["status"] == expected
        assert row["stop_reason"] == ("pruner" if expected == "stopped" else None)
        assert row["optimizer"] == trial.params["optimizer"].lower()
        assert (row["learning_rate"], row["batch_size"], row["seed"]) == (
            rate(trial),
            trial.params["batch_size"],
            trial.number,
        )
        assert row["val_metric"] == (trial.value if expected in ("completed", "stopped") else None)
        assert row["epochs_run"] == len(trial.intermediate_values)
        assert json.loads(row["params_json"])["optimizer_options"] == {"dropout": trial.params["dropout"]}
        assert (row["started_at"], row["finished_at"]) == (
            trial.datetime_start.astimezone(),  # type: ignore[union-attr]
            trial.datetime_complete.astimezone(),  # type: ignore[union-attr]
        )
    assert {row["status"] for row in rows} == {"completed", "stopped", "diverged", "error"}


def test_epochs_are_the_intermediate_values_and_nan_is_null(imported: tuple[optuna.Study, Path]) -> None:
    study, results = imported
    keys = {row["trial_key"]: row["trial_number"] for row in read_rows(results, "trials")}
    found: dict[int, dict[int, float | None]] = defaultdict(dict)
    for row in read_rows(results, "epochs"):
        found[keys[row["trial_key"]]][row["epoch"]] = row["val_metric"]
    for trial in study.trials:
        expected = {s + 1: None if math.isnan(v) else v for s, v in trial.intermediate_values.items()}
        assert found[trial.number] == expected
    assert found[5][3] is None


def test_the_question_of_learning_rates_says_what_optuna_says(imported: tuple[optuna.Study, Path]) -> None:
    study, results = imported
    best = max if study.direction.name == "MAXIMIZE" else min
    bins: dict[tuple[str, float], list[Any]] = defaultdict(list)
    for trial in study.trials:
        bins[trial.params["optimizer"].lower(), round(4 * math.log10(rate(trial))) / 4].append(trial)
    frame = analysis.frame(results, "learning_rate")
    assert len(frame) == len(bins)
    for row in frame.itertuples():
        trials = bins[row.optimizer, round(4 * math.log10(row.learning_rate)) / 4]
        completed = [trial.value for trial in trials if trial.state.name == "COMPLETE"]
        assert row.n == len(trials)
        assert row.diverged == pytest.approx(sum(t.number == 5 for t in trials) / len(trials))  # rounding of doubles
        assert row.failed == pytest.approx(sum(t.number == 6 for t in trials) / len(trials))
        assert row.stopped == pytest.approx(sum(t.state.name == "PRUNED" for t in trials) / len(trials))
        if completed:
            assert (row.best, row.median) == pytest.approx((best(completed), statistics.median(completed)))
        else:
            assert pd.isna(row.best) and pd.isna(row.median)


def test_other_questions_know_the_study_and_rank_nothing(imported: tuple[optuna.Study, Path]) -> None:
    study, results = imported
    divergence = analysis.frame(results, "divergence").set_index("optimizer")
    counted = [trial for trial in study.trials if trial.number != 6]
    for optimizer in ("adam", "sgd"):
        of = [trial for trial in counted if trial.params["optimizer"].lower() == optimizer]
        row = divergence.loc[optimizer]
        assert (row["n"], row["diverged"]) == (len(of), sum(trial.number == 5 for trial in of))
    budget = analysis.frame(results, "budget").iloc[0]
    assert (budget["mode"], budget["planned_search"], budget["ended_search"]) == ("joint", 24, 24)
    assert analysis.frame(results, "leaderboard").empty  # nothing was retrained, nothing saw test data
    assert study.best_value == pytest.approx(
        analysis.frame(results, "SELECT max_by(val_metric, sign * val_metric) AS best FROM arm_trials")["best"][0]
    )


def test_ranges_are_those_of_the_distributions(imported: tuple[optuna.Study, Path]) -> None:
    study, results = imported
    edges = analysis.frame(results, "edge_of_range").set_index(["optimizer", "dimension"])
    for optimizer, low, high in (("adam", 1e-5, 1e-1), ("sgd", 1e-3, 1.0)):
        row = edges.loc[optimizer, "learning_rate"]
        assert (row["low"], row["high"]) == (low, high)
        completed = [
            trial
            for trial in study.trials
            if trial.state.name == "COMPLETE" and trial.params["optimizer"].lower() == optimizer
        ]
        best = (max if study.direction.name == "MAXIMIZE" else min)(completed, key=lambda trial: trial.values[0])
        assert row["best"] == rate(best)
    assert (edges.loc["adam", "batch_size"]["low"], edges.loc["adam", "batch_size"]["high"]) == (16, 64)


def test_the_study_is_marked_and_the_storage_is_as_it_was(tmp_path: Path) -> None:
    opened, url = sqlite(tmp_path)
    sweep(opened, trials=8)
    path = tmp_path / "sweep.db"
    before, files = path.read_bytes(), sorted(tmp_path.iterdir())
    path.chmod(0o444)
    results = tmp_path / "results"
    assert typed("import", "optuna", url, "--results", results).exit_code == 0
    assert path.read_bytes() == before and sorted(set(tmp_path.iterdir()) - {results}) == files
    (row,) = read_rows(results, "studies")
    assert row["origin"] == f"optuna {optuna.__version__}" and row["mode"] == "joint" and row["complete"]


def test_importing_again_replaces(tmp_path: Path) -> None:
    opened, url = sqlite(tmp_path)
    results = tmp_path / "results"
    study = sweep(opened, trials=8)
    assert ": imported from optuna" in typed("import", "optuna", url, "--results", results).output
    first = {row["trial_key"] for row in read_rows(results, "trials")}
    study.optimize(lambda trial: trial.suggest_float("adam_lr", 1e-6, 1e-1, log=True), n_trials=1)
    named = ("--optimizer", "optimizer", "--learning-rate", "adam_lr", "--learning-rate", "sgd_lr")
    refused = typed("import", "optuna", url, "--results", results, *named)
    assert "Trial 8" in str(refused.exception) and "has no optimizer" in str(refused.exception)
    assert {row["trial_key"] for row in read_rows(results, "trials")} == first
    fixed = ("--optimizer", "=adam", "--batch-size", "=16", *named[2:])
    again = typed("import", "optuna", url, "--results", results, *fixed)
    assert ": imported again from optuna" in again.output
    rows = read_rows(results, "trials")
    assert len(rows) == 9 and {row["optimizer"] for row in rows} == {"adam"} and first < {r["trial_key"] for r in rows}
    assert len(list(results.rglob("*.parquet"))) == 4


@pytest.mark.parametrize("storage", [sqlite, journal])
def test_names_that_are_given_and_values_that_all_trials_shared(
    tmp_path: Path, storage: Callable[[Path], tuple[BaseStorage, str]]
) -> None:
    opened, typed_as = storage(tmp_path)
    study = optuna.create_study(study_name="fixed", storage=opened, sampler=optuna.samplers.RandomSampler(seed=0))

    def objective(trial: optuna.Trial) -> float:
        return abs(trial.suggest_float("eta", 1e-4, 1e-1, log=True) - 1e-2) + trial.suggest_int("w_bits", 2, 8)

    study.optimize(objective, n_trials=4)
    results = tmp_path / "results"
    done = typed(
        *("import", "optuna", typed_as, "--results", results, "--as", "other", "--metric", "loss"),
        *("--learning-rate", "eta", "--optimizer", "=torch.optim.AdamW", "--batch-size", "=128"),
        *("--activation-bits", "=8", "--trivial", "3.5"),
    )
    assert done.exit_code == 0, done.exception
    rows = sorted(read_rows(results, "trials", "other"), key=lambda row: row["trial_number"])
    assert [row["learning_rate"] for row in rows] == [trial.params["eta"] for trial in study.trials]
    assert {(row["optimizer"], row["batch_size"], row["activation_bits"]) for row in rows} == {("adamw", 128, 8)}
    assert [row["weight_bits"] for row in rows] == [trial.params["w_bits"] for trial in study.trials]
    # No intermediate values: the result is the only epoch there is. Below 3.5 is better, as the study minimizes.
    assert [row["val_metric"] for row in read_rows(results, "epochs")] == [row["val_metric"] for row in rows]
    assert [row["learned"] for row in rows] == [trial.values[0] < 3.5 for trial in study.trials]
    (arm,) = read_rows(results, "arms")
    assert (arm["metric"], arm["sign"], arm["trivial_score"], arm["weight_bits"]) == ("loss", -1, 3.5, None)
    assert len(analysis.frame(results, "learning_rate"))


@pytest.mark.filterwarnings("ignore:.*set_metric_names is experimental")  # Optuna's, of what the test calls
def test_trials_that_have_not_ended_and_several_objectives(tmp_path: Path) -> None:
    opened, url = sqlite(tmp_path)
    study = optuna.create_study(study_name="two", storage=opened, directions=["minimize", "maximize"])
    study.set_metric_names(["loss", "accuracy"])
    fixed = {"lr": 0.1, "bs": 32, "optim": "SGD"}
    study.add_trial(optuna.create_trial(values=[0.5, 0.75], user_attrs=fixed))
    study.add_trial(optuna.create_trial(state=optuna.trial.TrialState.RUNNING, user_attrs=fixed))
    study.add_trial(optuna.create_trial(state=optuna.trial.TrialState.FAIL))
    study.enqueue_trial({})
    refused = typed("import", "optuna", url, "--results", tmp_path / "results")
    assert "2 objectives" in str(refused.exception) and "loss, accuracy" in str(refused.exception)
    done = typed("import", "optuna", url, "--results", tmp_path / "results", "--metric", "accuracy")
    assert "1 completed, 1 not ended" in done.output and "left out" in done.output and "not started" in done.output
    (study_row,), trials = read_rows(tmp_path / "results", "studies"), read_rows(tmp_path / "results", "trials")
    assert not study_row["complete"]
    assert sorted((row["status"], row["val_metric"]) for row in trials) == [("completed", 0.75), ("interrupted", None)]
