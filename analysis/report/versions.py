"""Versions of a study file that ran, for the page: when, what had been seen by then, and what was changed."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from analysis.report.cells import cell
from tune_qat.results.publishable import publishable
from tune_qat.text.numbers import NOTHING

LISTED = 8
"""Most changes of a version that are named."""


def versions(versions_json: Any) -> list[list[str]]:
    """Return a row of cells for each version, the first one first; none where the record names no versions.

    The cells are the date, both hashes, the numbers of trials that had ended and that had seen test data, and the keys
    that the version changed.
    """
    known = json.loads(versions_json) if isinstance(versions_json, str) else []
    rows, before = [], None
    for one in known:
        changes: list[str] = [] if before is None else list(_changes(before, one["definition"]))
        before = one["definition"]
        date = NOTHING if one["first_run_at"] is None else cell(pd.Timestamp(one["first_run_at"]))
        counts = [cell(one[name]) for name in ("trials_ended", "retrain_ended")]
        hashes = [cell(one[name]) for name in ("file_hash", "prereg_hash")]
        rows.append([date, *hashes, *counts, _listed(changes)])
    return rows


def _listed(changes: list[str]) -> str:
    more = [f"and {len(changes) - LISTED} more"] if len(changes) > LISTED else []
    return publishable(", ".join([*changes[:LISTED], *more])) or NOTHING


def _changes(before: Any, after: Any, key: str = "") -> Iterator[str]:
    """Yield each key whose value differs, with both values."""
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in sorted({*before, *after}):
            yield from _changes(before.get(name), after.get(name), f"{key}.{name}" if key else str(name))
    elif before != after:
        yield f"{key} {json.dumps(before)}, now {json.dumps(after)}"
