"""Trials that the other studies of a results folder have completed, found by their keys; nothing is written."""

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tune_qat.config import TuneQatError
from tune_qat.config.statuses import COMPLETED
from tune_qat.results.layout import compact_number, record_files, study_folders, study_of, table_folder
from tune_qat.results.reader import read_file, read_rows, while_compacted
from tune_qat.storage.paths import StoragePath


class OtherStudies:
    """Index of the trials of all studies in a folder but one, and of imported ones.

    A trial's file is named by its key, so that only the files of trials that are asked for are read.
    """

    def __init__(self, results: StoragePath, study_id: str, columns: Sequence[str]) -> None:
        """List the trials of the other studies as they are now; `find` gives `columns` of their rows."""
        self._results, self._columns = results, [*dict.fromkeys(("trial_key", "status", *columns))]
        self._studies: dict[str, list[str]] = {}
        self._merged: dict[str, pa.Table] = {}
        """Completed trials in the compacted files of a study, read when the first of them is asked for."""
        for folder in study_folders(results, "trials"):
            study = study_of(folder)
            if study != study_id:
                for key in self._keys(folder, study):
                    self._studies.setdefault(key, []).append(study)

    def __contains__(self, trial_key: str) -> bool:
        """Tell whether another study has the trial, completed or not."""
        return trial_key in self._studies

    def find(self, trial_key: str) -> Iterator[dict[str, Any]]:
        """Yield the row of each study that has completed the trial, with its `study_id`; damaged ones are left out."""
        for study in self._studies.get(trial_key, ()):
            try:
                row = self._row(study, trial_key)
            except (TuneQatError, OSError):
                continue
            if row is not None and row["status"] == COMPLETED:
                yield {**dict.fromkeys(self._columns), **row, "study_id": study}

    def _keys(self, folder: StoragePath, study: str) -> set[str]:
        try:
            if any(row["origin"] is not None for row in read_rows(self._results, "studies", study, columns=["origin"])):
                return set()
            return while_compacted(partial(_keys_of, folder))
        except (TuneQatError, OSError):
            return set()  # a study with damaged files is repaired by its own next run, and is whole after that

    def _row(self, study: str, trial_key: str) -> dict[str, Any] | None:
        folder = table_folder(self._results, "trials", study)
        try:
            found = read_file(folder / f"{trial_key}.parquet", columns=self._columns)
        except FileNotFoundError:
            found = self._compacted(study, folder, trial_key)
        return next(iter(found.to_pylist()), None)

    def _compacted(self, study: str, folder: StoragePath, trial_key: str) -> pa.Table:
        """Return the trial's row from compacted files, which are read again if they lack it."""
        for _ in range(2):
            if study not in self._merged:
                self._merged[study] = while_compacted(partial(_completed, folder, self._columns))
            table = self._merged[study]
            found = table.filter(pc.equal(table["trial_key"], trial_key))
            if len(found):
                break
            del self._merged[study]
        return found.slice(max(0, len(found) - 1))


def _keys_of(folder: StoragePath) -> set[str]:
    files = record_files(folder)
    merged = [path for path in files if compact_number(path) is not None]
    return {path.name.removesuffix(".parquet") for path in files if compact_number(path) is None} | {
        key for path in merged for key in _only_completed(path, ["trial_key", "status"])["trial_key"].to_pylist()
    }


def _completed(folder: StoragePath, columns: Sequence[str]) -> pa.Table:
    parts = [_only_completed(path, columns) for path in record_files(folder) if compact_number(path) is not None]
    return (
        pa.concat_tables(parts, promote_options="default")
        if parts
        else pa.table({"trial_key": pa.array([], pa.string())})
    )


def _only_completed(path: StoragePath, columns: Sequence[str]) -> pa.Table:
    table = read_file(path, columns=columns)
    return table.filter(pc.equal(table["status"], COMPLETED))
