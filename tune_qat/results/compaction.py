"""Compaction of a record: the many small files of ended trials become few. Safe at any time, also while a study runs.

Merged files are removed only after the new file is complete. Until then rows exist twice, of which readers count one
(`views.py`, `reader.py`); after a crash in between, the next compaction removes them.
"""

from dataclasses import dataclass

import pyarrow as pa

from tune_qat.config.statuses import FINAL
from tune_qat.results.claim import claimed
from tune_qat.results.layout import compact_number, record_files, study_folders, study_of, table_folder
from tune_qat.results.reader import read_file, read_files, read_rows
from tune_qat.results.schema import KEYS
from tune_qat.results.writer import parquet
from tune_qat.storage.paths import StoragePath, write_whole

PER_TRIAL = ("epochs", "layers", "decisions", "trials")
"""Tables with a file for each trial. `trials` is last: once a trial's row is merged, its other rows are too."""
SORTED_BY = ("trial_key", "epoch", "rung")
ROWS_OF_A_PART = 122_880
"""Rows of a part of a file that is read by itself, such as for one trial; DuckDB's own number."""


@dataclass(frozen=True, kw_only=True)
class Compacted:
    """A compacted study, with its numbers of files before and after."""

    study_id: str
    before: int
    after: int


def compact(results: StoragePath) -> list[Compacted]:
    """Merge the files of ended trials in every study of the results.

    Raises:
        TuneQatError: a file is damaged (the message names it), or another process compacts the same study.
        OSError: the storage cannot be written; the files from before are still there.
    """
    root = results.absolute()
    studies = sorted({study_of(folder) for table in PER_TRIAL for folder in study_folders(root, table)})
    done = []
    for study_id in studies:
        with claimed(root, study_id, "compact"):
            folders = [table_folder(root, table, study_id) for table in PER_TRIAL]
            before = sum(len(record_files(folder)) for folder in folders)
            ended = {row["trial_key"] for row in read_rows(root, "trials", study_id) if row["status"] in FINAL}
            for table, folder in zip(PER_TRIAL, folders, strict=True):
                _merge(folder, table, ended)
            done.append(Compacted(study_id=study_id, before=before, after=sum(len(record_files(f)) for f in folders)))
    return done


def _merge(folder: StoragePath, table: str, ended: set[str]) -> None:
    files = record_files(folder)
    numbers = [number for number in map(compact_number, files) if number is not None]
    old = [path for path in files if compact_number(path) is not None]
    own = [path for path in files if compact_number(path) is None and path.name.partition(".")[0] in ended]
    if not own and len(old) < 2:
        return
    target = folder / f"compact-{max(numbers, default=0) + 1}.parquet"
    merged = _last_of_each_key(read_files([*old, *own], table), table)
    # Sorted by trial, so that one trial's rows are found without reading the others.
    ordered = merged.sort_by([(name, "ascending") for name in KEYS[table] if name in SORTED_BY])
    write_whole(target, parquet(ordered, row_group_size=ROWS_OF_A_PART))
    if read_file(target).num_rows != len(merged):
        raise OSError(f"{target} does not hold what was written to it; nothing was removed.")
    # Earlier attempts first: if this is interrupted, no trial is left with its earlier attempts only.
    for path in [*sorted(own, key=lambda path: (len(path.name), path.name)), *old]:
        path.unlink(missing_ok=True)


def _last_of_each_key(rows: pa.Table, table: str) -> pa.Table:
    """Return the last row of each key, and of each epoch that of the last attempt."""
    names = [name for name in KEYS[table] if name != "attempt"]
    numbered = rows.append_column("position", pa.array(range(len(rows)), pa.int64()))
    order = [*(["attempt"] if "attempt" in KEYS[table] else []), "position"]
    # Only without threads is `last` the last in the order of rows.
    last = numbered.sort_by([(name, "ascending") for name in order]).group_by(names, use_threads=False)
    return rows.take(last.aggregate([("position", "last")])["position_last"])
