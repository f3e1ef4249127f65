"""Trials of a record, each with its arm and its epochs; the record is only read."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import pyarrow as pa

from tune_qat.config import TuneQatError, UsageError
from tune_qat.config.lookup import did_you_mean
from tune_qat.results.layout import study_folders, study_of, table_folder
from tune_qat.results.reader import read_folder, read_rows, while_compacted
from tune_qat.storage.paths import StoragePath

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class Recorded:
    """A trial as the record has it."""

    arm: Row
    """Row of its arm. A trial that arms share, such as their start, has that of the study's first arm."""
    trial: Row
    epochs: Sequence[Row]
    """Rows of its epochs in order, each as its last attempt left it."""

    @property
    def of_arm(self) -> bool:
        """Whether it belongs to its arm alone."""
        return bool(self.arm.get("arm_id") == self.trial["arm_id"])


class Arms:
    """Arms of one study, for its trials."""

    def __init__(self, results: StoragePath, study_id: str) -> None:
        rows = read_rows(results, "arms", study_id)
        self.rows = sorted(rows, key=lambda row: str(row["arm_id"]))
        self._by_id = {row["arm_id"]: row for row in self.rows}

    def of(self, trial: Row) -> Row:
        """Return the arm of a trial; the first one for a trial of none."""
        return self._by_id.get(trial["arm_id"]) or (self.rows[0] if self.rows else {})


def studies(results: StoragePath, study: str | None = None) -> list[str]:
    """Return the ids of the record's studies, or of the named one.

    Raises `TuneQatError` where there is no record, `UsageError` for a study that it has not.
    """
    known = [study_of(folder) for folder in study_folders(results, "trials")]
    if not known:
        raise TuneQatError(
            f"{results} holds no trials of a study. Name the results folder of a study: tune-qat run ... --results DIR."
        )
    if study is not None and study not in known:
        raise UsageError(f"{results} has no study {study!r}.{did_you_mean(study, known)} It has {', '.join(known)}.")
    return known if study is None else [study]


def recorded(results: StoragePath, study_id: str, leave_out: Collection[str] = ()) -> Iterator[Recorded]:
    """Yield the trials of a study but for those with these keys, trials of an arm and stage together.

    Raises `TuneQatError` for a damaged file, which it names.
    """
    arms, epochs = Arms(results, study_id), _Epochs(results, study_id)
    trials = [row for row in read_rows(results, "trials", study_id) if row["trial_key"] not in leave_out]
    for trial in sorted(trials, key=lambda row: (row["arm_id"], row["stage"], row["trial_number"], row["trial_key"])):
        yield Recorded(arm=arms.of(trial), trial=trial, epochs=epochs(trial["trial_key"]))


class _Epochs:
    """Epochs of a study, as columns; a trial's are made rows when they are asked for."""

    def __init__(self, results: StoragePath, study_id: str) -> None:
        folder = table_folder(results, "epochs", study_id)
        self._table = while_compacted(partial(read_folder, folder, "epochs"))
        self._places: dict[str, list[int]] = defaultdict(list)
        for place, key in enumerate(self._table["trial_key"].to_pylist()):
            self._places[key].append(place)

    def __call__(self, trial_key: str) -> list[dict[str, Any]]:
        found = self._table.take(pa.array(self._places.get(trial_key, []), pa.int64())).to_pylist()
        # Sorting is stable: of the same attempt, a trial's own file comes after a compacted one.
        rows = {row["epoch"]: row for row in sorted(found, key=lambda row: row["attempt"])}
        return [rows[epoch] for epoch in sorted(rows)]
