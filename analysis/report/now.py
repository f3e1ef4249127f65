"""The moment of a growing record: which trials run, how far they are, and how long what is left takes at most."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any

from analysis.connection import explained
from analysis.connection import open as open_record
from tune_qat.config.statuses import CALIBRATED, PRETRAIN
from tune_qat.results.claim import holders
from tune_qat.results.layout import table_folder, trial_files
from tune_qat.results.reader import read_files, while_compacted
from tune_qat.results.views import read_sql
from tune_qat.storage.paths import StoragePath
from tune_qat.text.names import shown
from tune_qat.text.numbers import score

MOST = 4
"""Trials that are named; of more, the rest are counted."""


@dataclass(frozen=True, kw_only=True)
class Running:
    """A trial that runs, with its last recorded epoch; `metric` is that of validation data, in `unit`."""

    stage: str
    optimizer: str | None
    """None of the stage calibrated."""
    bits: str
    epoch: int
    epochs: int
    metric: float | None
    unit: str

    def __str__(self) -> str:
        if self.stage == CALIBRATED:
            return f"a calibrated model at {self.bits}"
        what = "the start of all arms" if self.stage == PRETRAIN else f"{shown(self.optimizer or '')} at {self.bits}"
        how = f", epoch {self.epoch} of {self.epochs}" if self.epoch else f", in the first of {self.epochs} epochs"
        return f"{what}{how}" + ("" if self.metric is None else f" ({score(self.metric, self.unit)})")


@dataclass(frozen=True, kw_only=True)
class Moment:
    """A study at one moment."""

    study_id: str
    complete: bool
    imported: bool
    driven: bool
    """Whether a process may be running it."""
    ended: int
    planned: int
    left_s: float | None
    """Seconds that the rest takes if no trial is stopped early; None while no epoch of this run is recorded."""
    running: tuple[Running, ...]

    @property
    def doing(self) -> str:
        """Sentence on what runs."""
        if self.complete:
            return "Complete: nothing is left to run."
        if not self.driven:
            return "Nothing runs." if self.imported else "Nothing runs: the same command goes on with it."
        if not self.running:
            return "Running: the next trials are about to start."
        stages = " and ".join(dict.fromkeys("training" if one.stage == PRETRAIN else one.stage for one in self.running))
        more = len(self.running) - MOST
        told = "; ".join(map(str, self.running[:MOST])) + (f"; and {more} more" if more > 0 else "")
        return f"Running now, {stages}: {told}."

    @property
    def standing(self) -> str:
        """Sentence on what has ended, and the time left."""
        count = f"{self.ended} of {self.planned} trials have ended"
        if self.complete or not self.driven:
            return f"{count}."
        left = "time left not known yet" if self.left_s is None else f"at most {duration(self.left_s)} left"
        return f"{count}, {left}."


def moments(paths: Sequence[StoragePath]) -> list[Moment]:
    """Read each study of these results as it is now; errors as those of `analysis.open`."""
    return explained(partial(_moments, paths, datetime.now(UTC)), paths)


def left(*, planned: int, over: int, trained: int, begun: int, seconds: float) -> float | None:
    """Return the seconds that a run still takes at most, at its own pace so far; None while it has none.

    Args:
        planned: epochs of all planned trials.
        over: epochs of planned trials that have ended, those that were stopped early with all they had.
        trained: epochs that this run has trained in trials that have ended.
        begun: epochs of the trials that run.
        seconds: duration of this run.
    """
    if trained + begun <= 0 or seconds <= 0:
        return None
    return max(0, planned - over - begun) * seconds / (trained + begun)


def duration(seconds: float) -> str:
    """Return a time as people say it: `40 s`, `12 min`, `3 h 20 min`, `2 d 4 h`."""
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def _moments(paths: Sequence[StoragePath], now: datetime) -> list[Moment]:
    opened = open_record(*paths)
    studies, trials = (opened.sql(read_sql(__file__, name)).to_arrow_table().to_pylist() for name in ("now", "running"))
    return [_moment(paths, one, [t for t in trials if t["study_id"] == one["study_id"]], now) for one in studies]


def _moment(
    paths: Sequence[StoragePath], study: dict[str, Any], trials: Sequence[dict[str, Any]], now: datetime
) -> Moment:
    # Of a driver that was lost the rows are left as they were.
    driven = not study["complete"] and any(holders(path, study["study_id"]) for path in paths)
    running = tuple(_running(paths, study, trial) for trial in trials) if driven else ()
    return Moment(
        **{name: study[name] for name in ("study_id", "complete", "imported", "ended", "planned")},
        driven=driven,
        running=running,
        left_s=left(
            planned=study["planned_epochs"],
            over=study["over_epochs"],
            trained=study["trained_epochs"],
            begun=sum(one.epoch for one in running),
            seconds=(now - study["started_at"].replace(tzinfo=UTC)).total_seconds(),
        ),
    )


def _running(paths: Sequence[StoragePath], study: dict[str, Any], trial: dict[str, Any]) -> Running:
    rows: list[dict[str, Any]] = []
    for path in paths:
        folder = table_folder(path, "epochs", trial["study_id"])
        read = partial(_epochs, folder, trial["trial_key"])
        rows += while_compacted(read)
    none: dict[str, Any] = {"epoch": 0, "val_metric": None}
    last = max(rows, key=lambda row: (row["attempt"], row["epoch"]), default=none)
    return Running(
        stage=trial["stage"],
        optimizer=trial["optimizer"],
        bits=f"{trial['weight_bits']}/{trial['activation_bits']}",
        epoch=last["epoch"],
        epochs=trial["epochs"],
        metric=last["val_metric"],
        unit=study["unit"],
    )


def _epochs(folder: StoragePath, trial_key: str) -> list[dict[str, Any]]:
    found = read_files(trial_files(folder, trial_key), "epochs", columns=["epoch", "val_metric"]).to_pylist()
    return [row for row in found if row["trial_key"] == trial_key]
