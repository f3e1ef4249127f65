"""Format of a trial's report to Ray Tune: the few values that Ray decides on, and one text with the rest."""

import json
from collections.abc import Mapping
from typing import Any

from tune_qat.config.statuses import RUNNING
from tune_qat.tuning.objective import OBJECTIVE

_REST = "rest"


def pack(report: Mapping[str, Any]) -> dict[str, Any]:
    """Pack a report for Ray Tune, which keeps four statistics of every reported number of every trial."""
    told = {name: report[name] for name in ("epoch", "status", "val_metric", OBJECTIVE) if name in report}
    rest = {name: value for name, value in report.items() if name not in told}
    return {**told, _REST: json.dumps(rest), "done": report["status"] != RUNNING}


def unpack(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a report that Ray Tune passes on, with all that was packed."""
    return {**result, **json.loads(result.get(_REST, "{}"))}
