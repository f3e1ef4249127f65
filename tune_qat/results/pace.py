"""Pace of a workload, from its recorded trials."""

from tune_qat.results.layout import FILES
from tune_qat.results.views import connect
from tune_qat.storage.paths import StoragePath

# A trial that several studies have counts once.
_QUERY = """
SELECT sum(device_s) / sum(epochs_run) FROM trials WHERE workload = ? AND epochs_run > 0
AND (taken_from IS NULL OR taken_from NOT IN (SELECT study_id || '/' || trial_key FROM trials))"""


def seconds_per_epoch(results: StoragePath, model: str, dataset: str) -> float | None:
    """Return the mean device seconds of an epoch over recorded trials of a workload; None if there are none."""
    if not any((results / "trials").glob(f"study_id=*/{FILES}")):
        return None
    row = connect(results).execute(_QUERY, [f"{model}-{dataset}"]).fetchone()
    return row[0] if row and row[0] else None
