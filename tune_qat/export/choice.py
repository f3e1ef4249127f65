"""Choice of the trial to export: the one that is named, or the best of the record on validation data."""

from dataclasses import dataclass

import pandas as pd

import analysis
from tune_qat.config import UsageError
from tune_qat.config.lookup import did_you_mean
from tune_qat.config.statuses import COMPLETED, KEPT_STAGES
from tune_qat.results.layout import check_name
from tune_qat.results.origin import refuse_imported
from tune_qat.results.reader import read_rows
from tune_qat.results.views import read_sql
from tune_qat.storage.paths import StoragePath


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A trial to export."""

    study_id: str
    trial_key: str
    stage: str
    words: str
    """Description of the trial, for people."""
    params_json: str
    """Configuration of the trial in the record."""
    epochs: int
    checkpoint_sha256: str | None
    """Hash of what its checkpoint holds; None in records of earlier versions."""


def choose(results: StoragePath, trial_key: str | None) -> Choice:
    """Return the trial `trial_key`, or if it is None the first of the question `best_trial`.

    Raises:
        UsageError: no trial has the key, or its model is not kept; without a key, the results hold several studies, or
            no completed retrain trial.
        TuneQatError: the folder holds no record.
    """
    best = analysis.frame(results, "best_trial")
    key = _best(best, results) if trial_key is None else check_name(trial_key)
    trials = analysis.frame(results, read_sql(__file__, "trials"))
    row = _named(trials, key, best)
    metric = "" if pd.isna(row.val_metric) else f", validation metric {row.val_metric:.4f}"
    separate = "" if pd.isna(row.quantizer_optimizer) else f" (quantizers: {row.quantizer_optimizer})"
    bits = f"{row.weight_bits}/{row.activation_bits} bits"
    words = f"{row.stage} trial {key}: {row.optimizer}{separate}, {bits}, seed {row.seed}"
    sha256 = None if pd.isna(row.checkpoint_sha256) else str(row.checkpoint_sha256)
    return Choice(
        study_id=str(row.study_id),
        trial_key=key,
        stage=str(row.stage),
        words=words + metric,
        params_json=str(row.params_json),
        epochs=0 if pd.isna(row.epochs_run) else int(row.epochs_run),
        checkpoint_sha256=sha256,
    )


def _best(best: pd.DataFrame, results: StoragePath) -> str:
    if not len(best):
        for study in read_rows(results, "studies", columns=["origin"]):
            refuse_imported(results, study["study_id"], "exported")
        raise UsageError(
            f"No retrain trial of {results} has been completed yet, and only models of retrain trials and of the "
            "shared start are kept. See `tune-qat status`; the same `tune-qat run` continues the study."
        )
    if best["study_id"].nunique() > 1:
        firsts = best.drop_duplicates("study_id")
        keys = ", ".join(f"{row.trial_key} ({row.study_id})" for row in firsts.itertuples())
        raise UsageError(f"{results} holds several studies, each with a best trial of its own. Name one: {keys}.")
    return str(best["trial_key"].iloc[0])


def _named(trials: pd.DataFrame, key: str, best: pd.DataFrame) -> pd.Series:
    found = trials[trials["trial_key"] == key]
    hint = f" The best: {', '.join(best['trial_key'])} (`tune-qat query RESULTS best_trial`)." if len(best) else ""
    if not len(found):
        raise UsageError(f"No trial {key!r} in the record.{did_you_mean(key, trials['trial_key'])}{hint}")
    row = found.iloc[0]
    if row.stage not in KEPT_STAGES:
        raise UsageError(
            f"Trial {key!r} is a {row.stage} trial, whose model is not kept: a study keeps the models of the shared "
            f"start and of retrain trials.{hint}"
        )
    if row.status != COMPLETED:
        raise UsageError(f"Trial {key!r} is {row.status}, so it has no trained model.{hint}")
    return row
