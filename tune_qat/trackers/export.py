"""Export of recorded trials to a tool, for the command."""

from collections.abc import Iterator

from tune_qat.config import TuneQatError
from tune_qat.storage.paths import StoragePath, cause_of
from tune_qat.trackers.checks import check_installed, local_folder
from tune_qat.trackers.recorded import Recorded, recorded, studies
from tune_qat.trackers.tracked import tracked

LOOK = {
    "tensorboard": "tensorboard --logdir {out}",
    "wandb": "wandb sync {out}/wandb/offline-run-*",
    "optuna": "optuna-dashboard {out}",
}
"""Command that shows, or sends, what was written."""


def export(results: StoragePath, study: str | None, tool: str, out: str) -> str:
    """Write the trials of a record to a tool; return what was done, and how to look at it.

    Raises `TuneQatError`, `UsageError`: nothing is written where the tool is missing, or there is no such study.
    """
    check_installed(tool, f"export-runs --to {tool}")
    names = studies(results, study)
    try:
        seen, changed = _write(tool, (one for name in names for one in recorded(results, name)), out)
    except OSError as error:
        raise TuneQatError(
            f"--out {out} cannot be written: {cause_of(error)}. What is already there stays: the same command goes on."
        ) from None
    runs = "run" if seen == 1 else "runs"
    news = "nothing was new" if not changed else f"{changed:,} written or gone on with"
    return f"{seen:,} {runs} in {out}, {news}\nLook at them: {LOOK[tool].format(out=out)}"


def _write(tool: str, found: Iterator[Recorded], out: str) -> tuple[int, int]:
    if tool == "optuna":
        from tune_qat.trackers import optuna_studies

        return optuna_studies.export(found, out)
    folder = local_folder(out, "--out")
    runs = map(tracked, found)
    if tool == "wandb":
        from tune_qat.trackers import offline_runs

        return offline_runs.export(runs, folder)
    from tune_qat.trackers.tensorboard import EventFiles

    return EventFiles(folder).write(runs)
