"""Progress of the studies in a results folder, from its files alone."""

import json
from collections import Counter
from collections.abc import Sequence
from functools import partial

from duckdb import DuckDBPyConnection

import analysis
from analysis.bundled import query_text
from analysis.connection import explained
from tune_qat.config.statuses import INTERRUPTED, RUNNING
from tune_qat.results.claim import Holder, holders
from tune_qat.results.views import read_sql
from tune_qat.storage.paths import StoragePath
from tune_qat.text.tables import table_text


def describe(results: StoragePath) -> str:
    """Return a block for each study: whether it is complete, its pretrained starts, and a line for each arm.

    A file that a running study replaces while it is read is read again.
    """
    return explained(partial(_described, results), [results])


def _described(results: StoragePath) -> str:
    connection = analysis.open(results)
    studies = connection.execute("SELECT study_id, complete, origin FROM studies ORDER BY study_id").fetchall()
    blocks = []
    for study_id, complete, origin in studies:
        starts = connection.execute(
            "SELECT status FROM trials WHERE study_id = ? AND stage = 'pretrain' QUALIFY row_number() OVER "
            "(PARTITION BY trial_number ORDER BY started_at DESC) = 1 ORDER BY trial_number",
            [study_id],
        ).fetchall()
        known = holders(results, study_id)
        asked = {"study": study_id, "driven": bool(known)}
        frame = connection.sql(read_sql(__file__, "status"), params=asked).to_arrow_table().to_pandas()
        if not frame["taken_over"].any():
            frame = frame.drop(columns="taken_over")
        goes_on = f"imported from {origin}" if origin else "the same `tune-qat run` continues it"
        state = "complete" if complete else f"not complete; {goes_on}"
        spaces = connection.sql(read_sql(__file__, "used_up"), params=[study_id]).fetchall()
        notes = "".join(f"\n{_used(*space)}" for space in spaces)
        (replaced,) = connection.sql(read_sql(__file__, "replaced"), params=[study_id]).fetchall()[0]
        notes += f"\n{_replaced(replaced)}" if replaced else ""
        mixed = connection.sql(read_sql(__file__, "mixed"), params=[study_id]).fetchall()
        notes += "".join(f"\n{_mixed(*one)}" for one in mixed)
        notes += _front(connection, study_id)
        notes += "".join(f"\n{_elsewhere(one)}" for one in known if not one.here)
        calibrated = connection.execute(
            "SELECT status FROM trials WHERE study_id = ? AND stage = 'calibrated'", [study_id]
        ).fetchall()
        stands = _starts([_stands(status, known) for (status,) in starts])
        stands += _counted("calibrated models", [_stands(status, known) for (status,) in calibrated])
        blocks.append(f"study {study_id}: {state}{stands}\n\n{table_text(frame)}{notes}")
    return "\n\n".join(blocks)


def _front(connection: DuckDBPyConnection, study_id: str) -> str:
    """Say how many points the front of a study with several objectives has so far; nothing of any other."""
    mine = "study_id IN (SELECT study_id FROM parts WHERE file_id = ?)"
    asked = f"SELECT count(*) FROM ({query_text('front')}) WHERE {mine}"
    (count,) = connection.execute(asked, [study_id]).fetchall()[0]
    if not count:
        return ""
    said = "1 point" if count == 1 else f"{count} points"
    return f"\nthe front has {said} (tune-qat query RESULTS front); best_val is that of its best metric"


def _stands(status: str, known: Sequence[Holder]) -> str:
    """Return the status of a trial, as it is where no process runs the study."""
    return INTERRUPTED if status == RUNNING and not known else status


def _elsewhere(holder: Holder) -> str:
    return f"{holder} may run it: whether that is alive cannot be seen from here"


def _starts(statuses: Sequence[str]) -> str:
    """Say how the pretrained starts stand, of which there may be one for each repeat; nothing without any."""
    if len(statuses) < 2:
        return "".join(f"; pretrained start: {status}" for status in statuses)
    return _counted("pretrained starts", statuses)


def _counted(what: str, statuses: Sequence[str]) -> str:
    """Say how many trials have each status, behind a semicolon; nothing without any."""
    counts = ", ".join(f"{count} {status}" for status, count in Counter(statuses).items())
    return f"; {what}: {counts}" if counts else ""


def _replaced(trials: int) -> str:
    which = "1 trial more has ended, which is" if trials == 1 else f"{trials} trials more have ended, which are"
    return f"{which} of a version of the study or a configuration that was replaced since"


def _mixed(scheme: str, bits: str | None) -> str:
    if bits is None and scheme.startswith("mixed-search-"):
        return f"bits of layers of {scheme} are searched"
    if bits is None:
        return f"layers of {scheme} have no bits yet: the run allocates them once the first start is there"
    return f"bits of layers of {scheme}: {', '.join(f'{layer} {width}' for layer, width in json.loads(bits).items())}"


def _used(arm: str, points: int, used: int) -> str:
    count = "1 point" if points == 1 else f"{points} points"
    return f"the space of {arm} has {count}, {'all' if used >= points else used} used"
