"""Output of `tune-qat rerun`: for people, and as JSON."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from tune_qat.config.statuses import COMPLETED, RETRAIN

if TYPE_CHECKING:
    from tune_qat.config import EpochResult
    from tune_qat.rerun.again import Rerun, Verdict
    from tune_qat.rerun.recorded import Recorded

HEADER = f"{'epoch':>5}   {'val metric recorded':>19}   {'rerun':>10}   {'difference':>10}"


def heading(rerun: "Rerun") -> str:
    """Return the lines above the epochs: the trial, how it was run, and what has changed since."""
    recorded, row, config = rerun.recorded, rerun.recorded.row, rerun.recorded.config
    changed = "; ".join(rerun.changed) or "device, backend, threads and versions as recorded"
    backend, threads = row["backend"] or "backend unknown", row["threads"] or "unknown"
    separate = config.quantizer_optimizer
    quantizers = f" (quantizers: {separate.name}, {separate.learning_rate:.4g})" if separate else ""
    lines = [
        f"{row['stage']} trial {row['trial_key']} of study {row['study_id']}, arm {row['arm_id']}",
        f"trained    {config.optimizer}, learning rate {config.learning_rate:.4g}{quantizers}, "
        f"batch size {config.batch_size}, {config.scheme.label}, seed {config.seed}",
        f"recorded   {row['status']}, {len(recorded.epochs)} of {_epochs(config.epochs)}; {backend}, threads {threads}",
        *([f"           {_failure(row)}"] if row["error_type"] else []),
        f"now        {changed}",
    ]
    return "\n".join(lines)


def line(before: Mapping[str, Any] | None, now: "EpochResult") -> str:
    """Return the line of an epoch: the validation metric as recorded and now, and the difference."""
    old, new = before["val_metric"] if before else None, now.val_metric
    difference = "-" if old is None or new is None else "0" if old == new else f"{new - old:+.3g}"
    return f"{now.epoch:>5}   {_number(old):>19}   {_number(new):>10}   {difference:>10}"


def conclusion(recorded: "Recorded", verdict: "Verdict") -> str:
    """Return the result in words: whether the rerun gave the same curve, and if not the likely causes."""
    tested = ", and test_metric" if recorded.row["stage"] == RETRAIN and recorded.row["status"] == COMPLETED else ""
    if verdict.same and verdict.error is not None:
        return f"It failed as recorded, after {_epochs(verdict.epochs[1])}: {verdict.error}"
    if verdict.same:
        curve = f"train_loss, val_loss, val_metric and grad_norm of {_epochs(verdict.epochs[1])}"
        return f"The same curve bit for bit: {curve}{tested}."
    first = {epoch: [n for n, e in verdict.differing.items() if e == epoch] for epoch in verdict.differing.values()}
    parts = [f"{', '.join(names)} from epoch {epoch}" for epoch, names in sorted(first.items())]
    told = [f"Not the same: {'; '.join(parts)}."] if parts else []
    told += [f"Not the same: {verdict.unlike}."] if verdict.unlike else []
    told += [verdict.error] if verdict.error else []
    if verdict.causes:
        told.append(f"Likely why: {'; '.join(verdict.causes)}.")
    else:
        told.append("Nothing explains it: device, backend, threads and versions are those of the record.")
    return "\n".join(told)


def epoch_json(before: Mapping[str, Any] | None, now: "EpochResult", columns: tuple[str, ...]) -> str:
    """Return the JSON object of an epoch."""
    recorded = before and {name: before[name] for name in columns}
    rerun = {name: getattr(now, name) for name in columns}
    return json.dumps({"epoch": now.epoch, "recorded": recorded, "rerun": rerun, "same": recorded == rerun})


def verdict_json(recorded: "Recorded", verdict: "Verdict") -> str:
    """Return the JSON object of the verdict, which follows those of the epochs."""
    row = {name: recorded.row[name] for name in ("trial_key", "study_id", "stage", "status", "error_type")}
    said = {name: getattr(verdict, name) for name in ("same", "explained", "differing", "causes", "unlike", "error")}
    before, now = verdict.epochs
    return json.dumps({**row, "epochs_recorded": before, "epochs_rerun": now, **said})


def _failure(row: Mapping[str, Any]) -> str:
    """Return the error's class and message: the last line of its traceback."""
    said = (row["error_text"] or "").strip().splitlines()[-1:]
    return said[0] if said and said[0].find(row["error_type"]) >= 0 else ": ".join([row["error_type"], *said])


def _epochs(count: int) -> str:
    return f"{count} epoch{'' if count == 1 else 's'}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.6f}"
