"""Repair of a study's record: damaged files are set aside, and their trials are run again. All others stay."""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pyarrow as pa
import pyarrow.compute as pc

from tune_qat.config import NotRead, TuneQatError, UsageError
from tune_qat.config.statuses import COMPLETED, FINAL, INTERRUPTED, PRETRAIN
from tune_qat.results.claim import claimed
from tune_qat.results.layout import checkpoint_path, compact_number, record_files, table_folder
from tune_qat.results.reader import READ_AT_ONCE, check_file, read_folder, read_rows
from tune_qat.results.schema import KEYS, TABLES, required
from tune_qat.results.soundness import DAMAGED
from tune_qat.results.writer import write_rows
from tune_qat.storage.paths import StoragePath, move, remove_folder
from tune_qat.storage.retry import Read, at_once

ASIDE = "damaged"
"""Folder in the results for files that were set aside, with the layout of the record."""
BEFORE_THE_ROW = ("epochs", "layers", "decisions")
"""Tables whose files of a trial may be there before its final row."""
_BEFORE_STATUS = TABLES["trials"].names[: TABLES["trials"].names.index("status")]
PLANNED = [field.name for field in TABLES["trials"] if field.name in _BEFORE_STATUS or required(field)]
"""Columns of a trial that are known before it runs."""


def repair(results: StoragePath, study_id: str, read: Read = at_once) -> list[str]:
    """Read the whole record of a study, set damaged files aside, and return a sentence for each file and trial.

    `read` makes each step, and may repeat it.

    Raises:
        UsageError: a file has another schema version.
        OSError, NotRead: a file cannot be read, and may be whole, or cannot be moved.
    """
    said, again, begun, rows_lost = list[str](), set[str](), set[str](), False
    for table in TABLES:
        folder = table_folder(results, table, study_id)
        for path, cause in read(partial(_damaged, folder)):
            said.append(f"{cause}\n  set aside in {read(partial(set_aside, results, path))}")
            if "trial_key" in KEYS[table] and compact_number(path) is None:
                again.add(_key_of(path))
            rows_lost |= table == "trials"
        if table in BEFORE_THE_ROW:
            begun |= read(partial(_with_files, folder))
    # Only these columns: a record may hold 100,000 trials.
    trials = read(partial(read_rows, results, "trials", study_id, columns=("status", "epochs_run")))
    left = set() if rows_lost else begun - {row["trial_key"] for row in trials} - again
    folder = table_folder(results, "epochs", study_id)
    again |= _with_holes(trials, read(partial(read_folder, folder, "epochs", columns=("epoch",))))
    if again or left:
        rows = {row["trial_key"]: row for row in read(partial(read_rows, results, "trials", study_id))}
        # Not while another process merges these files.
        with claimed(results, study_id, "compact"):
            said += [read(partial(_again, results, study_id, key, rows.get(key))) for key in sorted(again)]
            for key in sorted(left):
                read(partial(_clear, results, study_id, key, BEFORE_THE_ROW))
                said.append(f"trial {key} was being taken over when a run was cut off: what there was is set aside")
    return said


def set_aside(results: StoragePath, path: StoragePath) -> StoragePath:
    """Move a file out of the record, to the same folder and name below `damaged`, and return its new path."""
    names, above = list[str](), path
    while above != results.absolute():
        names, above = [above.name, *names], above.parent
    target = results / ASIDE
    for name in names:
        target = target / name
    move(path, target)
    return target


def _damaged(folder: StoragePath) -> list[tuple[StoragePath, str]]:
    """Return the damaged files of a table's folder, each with a sentence on its damage."""

    def cause(path: StoragePath) -> tuple[StoragePath, str | None]:
        try:
            check_file(path)
        except (UsageError, NotRead):
            raise
        except FileNotFoundError:
            return path, None  # compacted meanwhile
        except TuneQatError as error:
            return path, str(error).partition(f". {DAMAGED}")[0]
        return path, None

    with ThreadPoolExecutor(READ_AT_ONCE) as pool:
        return [(path, why) for path, why in pool.map(cause, record_files(folder)) if why is not None]


def _key_of(path: StoragePath) -> str:
    """Return the trial that a file of its own belongs to."""
    return path.name.partition(".")[0]


def _with_files(folder: StoragePath) -> set[str]:
    """Return the trials that have a file of their own in the folder."""
    return {_key_of(path) for path in record_files(folder) if compact_number(path) is None}


def _with_holes(rows: Iterable[dict[str, object]], epochs: pa.Table) -> set[str]:
    """Return the keys of ended trials whose epochs are not all in the record."""
    # No epoch is missing if there are as many different ones as the number of the last.
    counted = epochs.group_by("trial_key").aggregate([("epoch", "count_distinct"), ("epoch", "max")])
    whole = counted.filter(pc.equal(counted["epoch_count_distinct"], counted["epoch_max"]))
    last = dict(zip(whole["trial_key"].to_pylist(), whole["epoch_max"].to_pylist(), strict=True))
    ended = (row for row in rows if row["status"] in FINAL)
    return {str(row["trial_key"]) for row in ended if last.get(row["trial_key"], 0) != (row["epochs_run"] or 0)}


def _again(results: StoragePath, study_id: str, key: str, row: dict[str, object] | None) -> str:
    """Set aside the files of a trial, except the planned part of its row, and return a sentence about it."""
    if row and row["stage"] == PRETRAIN and row["status"] == COMPLETED:
        # All arms started from its weights, which their hash checks.
        return f"trial {key}: the curve of the shared start is lost, but its weights are kept"
    _clear(results, study_id, key, (*BEFORE_THE_ROW, *(() if row else ("trials",))))
    if row:
        planned = {name: row[name] for name in PLANNED}
        path = table_folder(results, "trials", study_id) / f"{key}.parquet"
        write_rows(path, "trials", [{**planned, "status": INTERRUPTED}])
    return f"trial {key} will be run again"


def _clear(results: StoragePath, study_id: str, key: str, tables: Iterable[str]) -> None:
    """Set aside a trial's own files in these tables, and remove its checkpoint."""
    for table in tables:
        folder = table_folder(results, table, study_id)
        for path in [*folder.glob(f"{key}.parquet"), *folder.glob(f"{key}.*.parquet")]:
            set_aside(results, path)
    remove_folder(checkpoint_path(results, study_id, key).parent)
