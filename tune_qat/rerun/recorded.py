"""Record of one trial, and the checkpoint that it started from."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tune_qat.config import TrialConfig, TuneQatError, UsageError
from tune_qat.config.lookup import did_you_mean
from tune_qat.config.statuses import CALIBRATED, FAILED
from tune_qat.results.layout import checkpoint_to_read, given_start_path
from tune_qat.results.origin import refuse_imported
from tune_qat.results.places import with_places
from tune_qat.results.views import connect, read_sql
from tune_qat.storage.paths import StoragePath, storage_path
from tune_qat.training.checkpoints import load_weights, weights_sha256

SHORTEST = 6
"""Smallest number of digits by which a key can be abbreviated."""


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """Recorded trial: its row, epochs, configuration, and the weights it started from."""

    row: Mapping[str, Any]
    epochs: Sequence[Mapping[str, Any]]
    config: TrialConfig
    data_dir: str | None
    """Data folder that the study file names."""
    start: StoragePath | None
    """Path of the checkpoint that it started from; None from scratch."""

    @property
    def failed(self) -> bool:
        return self.row["status"] in FAILED

    @property
    def wanted(self) -> int:
        """Number of epochs to run: the recorded ones, and for a failed trial also the one in which it failed."""
        return min(len(self.epochs) + self.failed, self.config.epochs)


def find(results: StoragePath, key: str) -> Recorded:
    """Find the trial with a key, or with a key that begins so; check its starting weights against the recorded hash.

    Raises:
        UsageError: the key is unknown, too short, or begins several keys; no epoch of the trial is recorded yet.
        TuneQatError: the starting weights are gone or have changed; the folder holds no record.
    """
    record = _Record(results)
    row = record.trial(key)
    refuse_imported(results, row["study_id"], "run again")
    if row["stage"] == CALIBRATED:
        raise UsageError(
            f"Trial {row['trial_key']} is a calibrated model that was not trained: it has no epoch to run again. To "
            "evaluate it again, run the study with another results folder (--results)."
        )
    of_trial = [row["study_id"], row["trial_key"]]
    epochs = record.rows("SELECT * FROM epochs WHERE study_id = ? AND trial_key = ? ORDER BY epoch", of_trial)
    if not epochs and row["status"] not in FAILED:
        raise UsageError(f"Trial {row['trial_key']} is {row['status']}, and none of its epochs is recorded yet.")
    studies = record.rows("SELECT definition_json FROM studies WHERE study_id = ?", of_trial[:1])
    definition = json.loads(with_places(results, row["study_id"], studies[0]["definition_json"])) if studies else {}
    starts = record.starts(row, definition.get("training", {}).get("init_path"))
    return Recorded(
        row=row,
        epochs=epochs,
        config=TrialConfig.of_record(row["trial_key"], row["params_json"]),
        data_dir=definition.get("data_dir"),
        start=_checked_start(row, starts),
    )


class _Record:
    """Rows of a results folder."""

    def __init__(self, results: StoragePath) -> None:
        self._results = results
        self._connection = connect(results)

    def rows(self, query: str, values: Sequence[Any] = ()) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._connection.sql(query, params=list(values)).to_arrow_table().to_pylist()
        return found

    def trial(self, key: str) -> dict[str, Any]:
        """Return the row of the trial with this key; if several studies have it, the row with most epochs."""
        near = self.rows("SELECT DISTINCT trial_key FROM trials WHERE starts_with(trial_key, ?) ORDER BY 1", [key])
        keys = [row["trial_key"] for row in near]
        if not keys:
            every = [row["trial_key"] for row in self.rows("SELECT DISTINCT trial_key FROM trials")]
            command = f"tune-qat query {shlex.quote(str(self._results))} 'SELECT arm_id, trial_key FROM trials'"
            raise UsageError(f"No trial {key!r} in the record.{did_you_mean(key, every)} All keys: {command}")
        if key not in keys and len(key) < SHORTEST:
            raise UsageError(f"A trial is named by its key, or by {SHORTEST} or more of its digits, but got {key!r}.")
        if key not in keys and len(keys) > 1:
            raise UsageError(f"{len(keys)} trials begin with {key!r}; name one of them: {', '.join(keys)}.")
        whole = key if key in keys else keys[0]
        return self.rows(read_sql(__file__, "trial"), [whole])[0]

    def starts(self, row: Mapping[str, Any], init_path: str | None) -> list[StoragePath]:
        """Return possible paths of the trial's starting weights, the likeliest first; none for a start from scratch."""
        if row["init_checkpoint_sha256"] is None:
            return []
        shared = self.rows(read_sql(__file__, "starts"), [row["init_checkpoint_sha256"], row["study_id"]])
        paths: list[StoragePath] = [
            checkpoint_to_read(self._results, row["study_id"], one["trial_key"]) for one in shared
        ]
        likely = sum(one["same"] for one in shared)
        given = given_start_path(self._results, row["study_id"], row["init_checkpoint_sha256"])
        if given.exists():
            return [given]
        return [*paths[:likely], *([storage_path(init_path)] if init_path else []), *paths[likely:]]


def _checked_start(row: Mapping[str, Any], starts: Sequence[StoragePath]) -> StoragePath | None:
    """Return the first of the paths if it holds the recorded weights, else raise `TuneQatError`; None from scratch."""
    wanted = row["init_checkpoint_sha256"]
    if wanted is None:
        return None
    if not starts:
        raise TuneQatError(f"Trial {row['trial_key']} started from weights {wanted[:12]}, which are not in the record.")
    found = weights_sha256(load_weights(starts[0]))
    if found != wanted:
        raise TuneQatError(
            f"Trial {row['trial_key']} started from weights {wanted[:12]}, but {starts[0]} holds {found[:12]}. "
            "The start has been trained again or replaced since, and without it the trial cannot be run again."
        )
    return starts[0]
