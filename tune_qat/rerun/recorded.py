"""What the record says of one trial, and the checkpoint that it started from."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tune_qat.config import TrialConfig, TuneQatError, UsageError
from tune_qat.config.lookup import did_you_mean
from tune_qat.config.statuses import FAILED
from tune_qat.results.layout import checkpoint_path
from tune_qat.results.origin import check_own
from tune_qat.results.views import connect, read_sql
from tune_qat.storage.paths import StoragePath, storage_path
from tune_qat.training.checkpoints import load_weights, weights_sha256

SHORTEST = 6
"""Digits of a key that is not given whole."""


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """What the record says of one trial."""

    row: Mapping[str, Any]
    epochs: Sequence[Mapping[str, Any]]
    config: TrialConfig
    data_dir: str | None
    """The study's own."""
    start: StoragePath | None
    """Checkpoint that it started from; None from scratch."""

    @property
    def failed(self) -> bool:
        return self.row["status"] in FAILED

    @property
    def wanted(self) -> int:
        """Epochs to run: those that are recorded, and where it failed the one in which it did."""
        return min(len(self.epochs) + self.failed, self.config.epochs)


def find(results: StoragePath, key: str) -> Recorded:
    """The trial of a key, or of the beginning of one; its start is checked against the hash in the record.

    Raises:
        UsageError: a key that is unknown, too short, or begins several; a trial of which nothing is recorded.
        TuneQatError: a start that is gone, or is not the one that the trial started from; a folder without a record.
    """
    record = _Record(results)
    row = record.trial(key)
    check_own(results, row["study_id"], "run again")
    of_trial = [row["study_id"], row["trial_key"]]
    epochs = record.rows("SELECT * FROM epochs WHERE study_id = ? AND trial_key = ? ORDER BY epoch", of_trial)
    if not epochs and row["status"] not in FAILED:
        raise UsageError(f"Trial {row['trial_key']} is {row['status']}, and none of its epochs is recorded yet.")
    studies = record.rows("SELECT definition_json FROM studies WHERE study_id = ?", of_trial[:1])
    definition = json.loads(studies[0]["definition_json"]) if studies else {}
    starts = record.starts(row, definition.get("training", {}).get("init_path"))
    return Recorded(
        row=row,
        epochs=epochs,
        config=TrialConfig.from_dict(json.loads(row["params_json"])),
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
        """The row of the key; where several studies have it, the one with most of its epochs."""
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
        """Where the weights may be that the trial started from, most likely first; none from scratch."""
        if row["init_checkpoint_sha256"] is None:
            return []
        shared = self.rows(read_sql(__file__, "starts"), [row["init_checkpoint_sha256"], row["study_id"]])
        paths: list[StoragePath] = [checkpoint_path(self._results, one["trial_key"]) for one in shared]
        likely = sum(one["same"] for one in shared)
        return [*paths[:likely], *([storage_path(init_path)] if init_path else []), *paths[likely:]]


def _checked_start(row: Mapping[str, Any], starts: Sequence[StoragePath]) -> StoragePath | None:
    """The first of the paths, if it holds the weights that the trial started from."""
    wanted = row["init_checkpoint_sha256"]
    if wanted is None:
        return None
    if not starts:
        raise TuneQatError(f"Trial {row['trial_key']} started from weights {wanted[:12]}, which the record has not.")
    found = weights_sha256(load_weights(starts[0]))
    if found != wanted:
        raise TuneQatError(
            f"Trial {row['trial_key']} started from weights {wanted[:12]}, but {starts[0]} holds {found[:12]}. "
            "The start has been trained again or replaced since, and without it the trial cannot be run again."
        )
    return starts[0]
