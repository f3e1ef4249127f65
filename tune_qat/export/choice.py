"""Choice of the trial to export: the one that is named, or the best of the record on validation data."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import pandas as pd

import analysis
from tune_qat.config import UsageError
from tune_qat.config.lookup import did_you_mean
from tune_qat.config.statuses import COMPLETED, KEPT_STAGES
from tune_qat.results.layout import check_name, checkpoint_path
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
    sources_json: str | None = None
    """Hashes of the own code that ran; None without own parts."""


def choose(results: StoragePath, trial_key: str | None, *, of_search: bool = False) -> Choice:
    """Return the trial `trial_key`, or if it is None the first of the question `best_trial`.

    Where no retrain trial has been completed, and it may be one `of_search`, the best trial whose model is kept.

    Raises:
        UsageError: no trial has the key, or its model is not kept; without a key, the results hold several studies, or
            no completed retrain trial.
        TuneQatError: the folder holds no record.
    """
    best, caveat = analysis.frame(results, "best_trial"), ""
    if trial_key is None and of_search and not len(best):
        best = best_of_search(results, partial(analysis.frame, results))
        caveat = f"\n{_caveat(int(best['among'].iloc[0]))}" if len(best) else ""
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
        words=words + metric + caveat,
        params_json=str(row.params_json),
        epochs=0 if pd.isna(row.epochs_run) else int(row.epochs_run),
        checkpoint_sha256=sha256,
        sources_json=None if pd.isna(row.sources_json) else str(row.sources_json),
    )


def best_of_search(results: StoragePath, asked: Callable[[str], pd.DataFrame]) -> pd.DataFrame:
    """Return of each study the best trial of the tuning whose model is there, as rows of `kept.sql`.

    `asked` answers SQL from the record in `results`.
    """
    return _there(results, asked).drop_duplicates("study_id")


def _caveat(among: int) -> str:
    return (
        f"It is the best of {among} trials on validation data, and none was trained again: its metric is optimistic. "
        "For an honest score: `tune-qat run ... --set stages.retrain=3`."
    )


def _there(results: StoragePath, asked: Callable[[str], pd.DataFrame]) -> pd.DataFrame:
    kept = asked(read_sql(__file__, "kept"))
    there = [checkpoint_path(results, str(row.study_id), str(row.trial_key)).exists() for row in kept.itertuples()]
    return kept[pd.Series(there, index=kept.index, dtype=bool)]


def _best(best: pd.DataFrame, results: StoragePath) -> str:
    if not len(best):
        for study in read_rows(results, "studies", columns=["origin"]):
            refuse_imported(results, study["study_id"], "exported")
        raise UsageError(
            f"No retrain trial of {results} has been completed yet, among which the best one is chosen. See `tune-qat "
            f"status`; the same `tune-qat run` continues the study.{_kept(results)}"
        )
    if best["study_id"].nunique() > 1:
        firsts = best.drop_duplicates("study_id")
        keys = ", ".join(f"{row.trial_key} ({row.study_id})" for row in firsts.itertuples())
        raise UsageError(f"{results} holds several studies, each with a best trial of its own. Name one: {keys}.")
    return str(best["trial_key"].iloc[0])


def _kept(results: StoragePath) -> str:
    """Name the trials of other stages whose models are kept, after a blank; nothing where there are none."""
    named = ", ".join(
        f"{row.trial_key} ({row.arm_id}, {row.val_metric:.4f})"
        for row in _there(results, partial(analysis.frame, results))[:8].itertuples()
    )
    if not named:
        return ""
    return f" Models of other trials are kept, of which --best takes the best (validation metric): {named}."


def _named(trials: pd.DataFrame, key: str, best: pd.DataFrame) -> pd.Series:
    found = trials[trials["trial_key"] == key]
    hint = f" The best: {', '.join(best['trial_key'])} (`tune-qat query RESULTS best_trial`)." if len(best) else ""
    if not len(found):
        raise UsageError(f"No trial {key!r} in the record.{did_you_mean(key, trials['trial_key'])}{hint}")
    row = found.iloc[0]
    if row.stage not in KEPT_STAGES and pd.isna(row.checkpoint_sha256):
        raise UsageError(
            f"Trial {key!r} is a {row.stage} trial, whose model is not kept: a study keeps the models of the shared "
            f"start and of retrain trials, unless stages.keep says otherwise.{hint}"
        )
    if row.status != COMPLETED:
        raise UsageError(f"Trial {key!r} is {row.status}, so it has no trained model.{hint}")
    return row
