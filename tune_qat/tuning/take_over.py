"""Trials that another study of the folder has completed, taken over: this study's own row, and copies of the data."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from tune_qat.config import TuneQatError
from tune_qat.config.statuses import CALIBRATED, COMPLETED, SEARCH
from tune_qat.results.layout import checkpoint_path, checkpoint_to_read
from tune_qat.results.other_studies import OtherStudies
from tune_qat.results.provenance import versions
from tune_qat.results.reader import last_epochs
from tune_qat.results.schema import TABLES
from tune_qat.results.writer import write_rows
from tune_qat.training.checkpoints import check_trained, state_of
from tune_qat.tuning.asha import STOPPED_BY_ASHA
from tune_qat.tuning.objective import Objective
from tune_qat.tuning.plan import PlannedTrial
from tune_qat.tuning.record import FROM_WORKER, Record
from tune_qat.tuning.rows import CALIBRATED_COLUMNS, ended_columns, last_rung, planned_columns

Judge = Callable[[PlannedTrial, int, float], bool]
"""Judgement of a search trial after an epoch, by its objective: whether ASHA stops it."""
Rows = list[dict[str, Any]]
OF_CALIBRATED = (*CALIBRATED_COLUMNS, "device_s")
"""Columns of a trial without epochs that its row alone has."""


def of_the_run() -> tuple[str, ...]:
    """Return the columns that say how and where a trial was run, which are those of the study that ran it."""
    return (*FROM_WORKER, *versions(), "n_restarts", "started_at", "finished_at")


def columns_read() -> tuple[str, ...]:
    """Return the columns of other studies' trials that taking over needs."""
    return (*of_the_run(), *OF_CALIBRATED, "checkpoint_sha256", "taken_from")


@dataclass(frozen=True, kw_only=True)
class Source:
    """A completed trial of another study, read and found whole."""

    row: Mapping[str, Any]
    epochs: Rows
    layers: Rows
    checkpoint: bytes | None = None
    """Content of its checkpoint, if this study keeps it."""
    checkpoint_sha256: str | None = None

    @property
    def origin(self) -> str:
        """The study that really ran the trial, and its key."""
        return self.row["taken_from"] or f"{self.row['study_id']}/{self.row['trial_key']}"


@dataclass
class TakeOver:
    """Writer of trials that are taken over: layers, epochs, decisions and checkpoint before the row.

    A driver that is killed in between leaves files without a row, which `repair` sets aside.
    """

    others: OtherStudies
    record: Record
    objective: Objective
    stops: Judge = lambda plan, epoch, objective: False

    def __call__(self, plan: PlannedTrial) -> dict[str, Any] | None:
        """Take the trial over and return its row; None if no other study has completed it and kept it whole."""
        for row in self.others.find(plan.trial_key):
            try:
                source = self._read(plan, row)
            except (TuneQatError, OSError):
                continue  # damaged, or gone since: the trial is trained
            if source is not None:
                return self._write(plan, source)
        return None

    def _read(self, plan: PlannedTrial, row: Mapping[str, Any]) -> Source | None:
        """Read a completed trial; None if it lacks epochs or layers. Raises the errors of reading it."""
        study, key, config = row["study_id"], plan.trial_key, plan.config
        if plan.stage == CALIBRATED:
            return Source(row=row, epochs=[], layers=[])
        epochs = last_epochs(self.record.results, study, key)
        layers = last_epochs(self.record.results, study, key, "layers")
        numbers = list(range(1, config.epochs + 1))
        whole = [one["epoch"] for one in epochs] == numbers and epochs[-1]["status"] == COMPLETED
        if not whole or (not config.scheme.is_float and sorted({one["epoch"] for one in layers}) != numbers):
            return None
        path, own = checkpoint_to_read(self.record.results, study, key), self.record.study
        if plan.stage not in own.kept_stages or not (own.needs_model(plan.stage) or path.exists()):
            return Source(row=row, epochs=epochs, layers=layers)
        data, sha256 = path.read_bytes(), row["checkpoint_sha256"]
        found = check_trained(state_of(data, path), path, stage=plan.stage, sha256=sha256, epochs=config.epochs)
        return Source(row=row, epochs=epochs, layers=layers, checkpoint=data, checkpoint_sha256=found)

    def _write(self, plan: PlannedTrial, source: Source) -> dict[str, Any]:
        """Write the trial, up to the epoch at which this study's own ASHA stops it."""
        record, key = self.record, plan.trial_key
        attempt = record.forget_row(plan)
        stopped_at = self._stopped_at(plan, source.epochs) if plan.stage == SEARCH else None
        last = stopped_at or len(source.epochs)
        epochs = source.epochs[:last]
        # In the order of a trial that is trained: an epoch that counts has its layers.
        for table, rows in (("layers", source.layers), ("epochs", epochs)):
            copies = [_copy(table, one, attempt) for one in rows if one["epoch"] <= last]
            if copies:
                write_rows(record.path(table, f"{key}.{attempt}"), table, copies, record.write)
        if source.checkpoint is not None:
            record.write(checkpoint_path(record.results, record.study.name, key), source.checkpoint)
        status, reason = (COMPLETED, None) if stopped_at is None else STOPPED_BY_ASHA
        work = record.work_of(plan)
        trivial = record.reference_points(work)["trivial_score"]
        row: dict[str, Any] = {
            **planned_columns(plan, work),
            **{name: source.row[name] for name in of_the_run()},
            **ended_columns(plan, epochs, source.row, status, sign=record.sign, trivial_score=trivial),
            "status": status,
            "stop_reason": reason,
            "rung": last_rung(record.study, plan, epochs),
            "checkpoint_sha256": source.checkpoint_sha256,
            "taken_from": source.origin,
        }
        record.write_ended(plan, row)
        return row

    def _stopped_at(self, plan: PlannedTrial, epochs: Rows) -> int | None:
        """Ask ASHA after each epoch, and return the one at which it stops the trial."""
        judged = ((one["epoch"], self.objective.of(one["val_metric"])) for one in epochs)
        return next((epoch for epoch, objective in judged if self.stops(plan, epoch, objective)), None)


def _copy(table: str, row: Mapping[str, Any], attempt: int) -> dict[str, Any]:
    return {**{name: row.get(name) for name in TABLES[table].names}, "attempt": attempt}
