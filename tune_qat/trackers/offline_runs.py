"""Offline runs of Weights & Biases: one folder for each trial, which `wandb sync` sends when the user wants it.

Nothing is uploaded here. A run's id follows from its study and trial, so that one that is sent again is the same run.
"""

import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

import wandb

from tune_qat.config import TuneQatError, stable_hash
from tune_qat.config.shown import cut
from tune_qat.trackers.tracked import TrackedRun

MARK = "tune-qat.json"
"""File in a run's folder that is written last, with the hash of what the run holds."""
QUIET = {"WANDB_ERROR_REPORTING": "false", "WANDB_SILENT": "true"}
"""Environment of wandb's service, without which it would report its errors over the network."""


def export(runs: Iterable[TrackedRun], out: Path) -> tuple[int, int]:
    """Write the runs whose folder is missing, incomplete or of before; return how many there are, and how many written.

    Raises `OSError`, `TuneQatError`.
    """
    out.mkdir(parents=True, exist_ok=True)
    seen = written = 0
    with _service():
        for run in runs:
            seen += 1
            written += _export(run, out)
    return seen, written


def run_id(run: TrackedRun) -> str:
    return f"{run.study}-{run.key}"


def folders(run: TrackedRun, out: Path) -> list[Path]:
    """Return the folders of a run; more than one where an export was cut off."""
    return sorted(out.glob(f"wandb/offline-run-*-{run_id(run)}"))


def _export(run: TrackedRun, out: Path) -> bool:
    known, content = folders(run, out), stable_hash(asdict(run))
    whole = [folder for folder in known if _mark(folder) == content][:1]
    if not whole:
        for folder in known:  # before: one that is written within the same second has the same name
            shutil.rmtree(folder)
        _write(run, out)
        for folder in folders(run, out):
            (folder / MARK).write_text(json.dumps({"content": content}), encoding="utf-8")
        return True
    for folder in set(known) - set(whole):
        shutil.rmtree(folder)
    return False


def _mark(folder: Path) -> str | None:
    try:
        return str(json.loads((folder / MARK).read_text(encoding="utf-8"))["content"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _write(run: TrackedRun, out: Path) -> None:
    bits = f"w{run.parameters['weight_bits']}a{run.parameters['activation_bits']}"
    tags = [run.stage, str(run.outcome.get("status", "unfinished")), str(run.parameters.get("optimizer", "")), bits]
    opened = wandb.init(
        project=run.study,
        id=run_id(run),
        name=run.name,
        group=run.arm,
        job_type=run.stage,
        tags=[tag for tag in tags if tag],
        config={**run.parameters, **run.identity},
        dir=str(out),
        mode="offline",
        save_code=False,
        settings=_settings(),
    )
    # A column of the last values would give one to a trial that has diverged.
    opened.define_metric("*", summary="none")
    for point in run.points:
        opened.log({**point.values, "_timestamp": point.at}, step=point.epoch)
    opened.summary.update({**run.finals, **run.outcome})
    opened.finish(exit_code=0 if run.succeeded or not run.ended else 1)


def _settings() -> wandb.Settings:
    """Return settings without anything of this machine, its user, its console and this program's code."""
    return wandb.Settings(
        console="off",
        disable_code=True,
        disable_git=True,
        host="",
        silent=True,
        symlink=False,
        x_disable_machine_info=True,
        x_disable_meta=True,
        x_disable_stats=True,
        x_save_requirements=False,
    )


@contextmanager
def _service() -> Iterator[None]:
    """End wandb's service process with the block, and name its errors."""
    before = {name: os.environ.get(name) for name in QUIET}
    os.environ.update(QUIET)
    try:
        yield
    except wandb.Error as error:
        raise TuneQatError(f"wandb cannot write the runs: {cut(str(error))}") from None
    finally:
        wandb.teardown()
        for name, value in before.items():
            os.environ.pop(name, None) if value is None else os.environ.update({name: value})
