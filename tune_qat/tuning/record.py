"""Record of a running study: the tables that the driver writes, which are studies, arms, trials and decisions."""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from functools import cached_property, partial
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from tune_qat.config import Scheme, StorageRefused, TuneQatError
from tune_qat.config.shown import cause
from tune_qat.config.statuses import FINAL, RUNNING
from tune_qat.results.layout import checkpoint_path, checkpoint_to_read, study_file, table_folder
from tune_qat.results.places import keep_places
from tune_qat.results.provenance import versions
from tune_qat.results.reader import last_epochs, read_file, read_folder, while_compacted
from tune_qat.results.schema import SCHEMA_VERSION
from tune_qat.results.writer import write_rows
from tune_qat.storage.paths import StoragePath, Write, remove_folder, write_whole
from tune_qat.storage.retry import Read, at_once
from tune_qat.study import Arm, Study
from tune_qat.training.checkpoints import check_trained, load_checkpoint
from tune_qat.training.workload import Workload
from tune_qat.tuning.asha import Decision
from tune_qat.tuning.costs import cost_rows
from tune_qat.tuning.earlier import to_json
from tune_qat.tuning.kept import Kept
from tune_qat.tuning.overlap import subset_overlaps
from tune_qat.tuning.plan import DataDraws, PlannedTrial
from tune_qat.tuning.points import Spaces
from tune_qat.tuning.queue import StudyQueue
from tune_qat.tuning.rows import arm_columns, ended_columns, front_columns, last_rung, planned_columns
from tune_qat.tuning.versions import file_hash, versions_of

FROM_WORKER = (
    "backend",
    "precision",
    "peak_memory_mb",
    "start_memory_mb",
    "host_hash",
    "device",
    "cuda_version",
    "threads",
    "workers",
    "sources_json",
    "error_type",
    "error_text",
)


@dataclass
class Record:
    """`TrialRecord` on disk or object storage. Every file has one writer, and is replaced whole."""

    results: StoragePath
    study: Study
    works: DataDraws[Workload]
    sign: int
    write: Write = write_whole
    read: Read = at_once
    """Function that makes each read, and may repeat it."""
    restarts: dict[str, int] = field(default_factory=dict)
    """Number of restarts so far, by key, of trials that have been started before."""
    weights_text: str | None = None
    """Account of what loaded of weights that the study gives."""
    _points: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    _decisions: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    _started: dict[str, datetime] = field(default_factory=dict)
    _running: dict[str, dict[str, Any]] = field(default_factory=dict)
    _versions: str | None = None

    def __post_init__(self) -> None:
        self.kept = Kept(self.study, self.sign)

    def work_of(self, plan: PlannedTrial) -> Workload:
        """Return the data of a trial."""
        return self.works.of(plan.config.dataset_options)

    def reference_points(self, work: Workload) -> Mapping[str, Any]:
        """Return the columns of an arm that its data alone determines, computed once."""
        split = work.dataset.split_fingerprint
        if split not in self._points:
            self._points[split] = {**work.reference_points(), **_units(work)}
        return self._points[split]

    def started(self, plan: PlannedTrial) -> None:
        """Write a row with status `running`, so that a study that is cut off can resume the trial."""
        key = plan.trial_key
        started = self._started.setdefault(key, now())
        # Counted by the driver: a worker may be lost before it has written anything.
        self.restarts[key] = self.restarts.get(key, -1) + 1
        row = {"status": RUNNING, "started_at": started, "n_restarts": self.restarts[key]}
        self._write_trial({**self._running.setdefault(key, planned_columns(plan, self.work_of(plan))), **row})

    def ended(
        self, plan: PlannedTrial, report: Mapping[str, Any], status: str, stop_reason: str | None
    ) -> dict[str, Any]:
        """Write a trial's final row from its recorded epochs, and return it; remove its checkpoint unless kept."""
        epochs = self.epochs_of(plan.trial_key)
        trivial = self.reference_points(self.work_of(plan))["trivial_score"]
        row: dict[str, Any] = {
            **(self._running.pop(plan.trial_key, {}) or planned_columns(plan, self.work_of(plan))),
            **{name: report.get(name) for name in FROM_WORKER},
            **ended_columns(plan, epochs, report, status, sign=self.sign, trivial_score=trivial),
            "status": status,
            "stop_reason": stop_reason,
            "n_restarts": self.restarts.get(plan.trial_key, 0),
            "rung": last_rung(self.study, plan, epochs),
            "started_at": self._started.get(plan.trial_key),
            "finished_at": now(),
            "checkpoint_sha256": report.get("checkpoint_sha256"),
        }
        self.write_ended(plan, row)
        return row

    def write_ended(self, plan: PlannedTrial, row: Mapping[str, Any]) -> None:
        """Write the row of a trial that is not running any more; remove its checkpoint, or that of one it replaces."""
        self._write_trial(row)
        if row["status"] in FINAL:
            # After the row: with neither of them the trial would start from its first epoch.
            for superseded in self.kept.superseded(plan, row):
                self.forget_checkpoint(superseded)
            # Not needed any more; in a large study they would fill the memory.
            self._decisions.pop(plan.trial_key, None)
            self._started.pop(plan.trial_key, None)

    def forget_row(self, plan: PlannedTrial) -> int:
        """Remove the row of a trial that this study has begun; return the number of the next attempt at it."""
        if plan.trial_key not in self.restarts:
            return 1
        attempts = [row["attempt"] for row in self.epochs_of(plan.trial_key)]
        self.read(partial(self.path("trials", plan.trial_key).unlink, missing_ok=True))
        return 1 + max(attempts, default=0)

    def forget_checkpoint(self, plan: PlannedTrial) -> None:
        """Remove the checkpoint of a trial that has ended."""
        self.read(partial(remove_folder, checkpoint_path(self.results, self.study.name, plan.trial_key).parent))

    def weights_hash(self, plan: PlannedTrial, epochs: int) -> str | None:
        def found() -> str:
            path = checkpoint_to_read(self.results, self.study.name, plan.trial_key)
            return check_trained(load_checkpoint(path), path, stage=plan.stage, sha256=None, epochs=epochs)

        try:
            return self.read(found)
        except StorageRefused:
            raise
        except TuneQatError:
            return None

    def decided(self, decision: Decision) -> None:
        key = decision.trial_key
        if key not in self._decisions:
            # A resumed trial has decisions of an earlier run.
            self._decisions[key] = self._decided(key)
        self._decisions[key].append({**asdict(decision), "decided_at": now()})
        write_rows(self.path("decisions", key), "decisions", self._decisions[key], self.write)

    def decisions_of(self, trial_key: str) -> dict[int, str]:
        return {row["rung"]: row["action"] for row in self._decided(trial_key)}

    def epochs_of(self, trial_key: str) -> list[dict[str, Any]]:
        return self.read(partial(last_epochs, self.results, self.study.name, trial_key))

    def searched_epochs(self) -> Iterable[tuple[str, int, float | None]]:
        folder = table_folder(self.results, "epochs", self.study.name)
        read = partial(read_folder, folder, "epochs", columns=("epoch", "val_metric"))
        epochs = self.read(partial(while_compacted, read))
        ordered = epochs.sort_by("attempt").select(["trial_key", "epoch", "val_metric"])
        return zip(*(column.to_pylist() for column in ordered.columns), strict=True)

    def last_attempts(self, trial_keys: Iterable[str]) -> dict[str, int]:
        """Find the number of the last recorded attempt at each of these trials that has an epoch."""
        wanted = pa.array(trial_keys, pa.string())
        if not len(wanted):
            return {}
        folder = table_folder(self.results, "epochs", self.study.name)
        epochs = self.read(partial(while_compacted, partial(read_folder, folder, "epochs", columns=())))
        last = (
            epochs.filter(pc.is_in(epochs["trial_key"], wanted)).group_by("trial_key").aggregate([("attempt", "max")])
        )
        return dict(zip(last["trial_key"].to_pylist(), last["attempt_max"].to_pylist(), strict=True))

    def refuse(self, error: Exception) -> None:
        """Raise this error at every later write."""

        def refused(path: StoragePath, data: bytes | memoryview) -> None:
            raise error

        self.write = refused

    def _decided(self, trial_key: str) -> list[dict[str, Any]]:
        path = self.path("decisions", trial_key)
        return self.read(lambda: read_file(path).to_pylist() if path.exists() else [])

    def arms(
        self, queue: StudyQueue, best: Mapping[str, str | None], earlier: Mapping[str, Spaces] | None = None
    ) -> None:
        """Write all arms of the study; by arm, `best` is the id of the chosen configuration, `earlier` other ranges."""
        before = {arm_id: to_json(spaces) for arm_id, spaces in (earlier or {}).items()}
        overlaps = subset_overlaps(self.study, self.works)
        chosen = {arm_id: state.best[0].config.scheme for arm_id, state in queue.arms.items() if state.best}
        rows = [
            {
                **arm_columns(
                    self.study, self.works.of(self.study.data_options(arm.repeat)), arm, chosen.get(arm.arm_id)
                ),
                **self._shared(arm),
                "subset_overlap": overlaps.get(arm.repeat),
                "init_checkpoint_sha256": queue.start_of(arm).planner.init_sha256,
                "best_config_id": best.get(arm.arm_id),
                **(front_columns(queue.arms.get(arm.arm_id)) if self.study.search.objectives else {}),
                "earlier_space_json": before.get(arm.arm_id),
            }
            for arm in self.study.arms()
        ]
        write_rows(self.path("arms", "arms"), "arms", rows, self.write)

    def costs(self, chosen: Mapping[str, Scheme] | None = None) -> str | None:
        """Write what each layer costs in each scheme of the study; return why that is not known, if it is not.

        By method, `chosen` has the schemes that searches of bits have come to.
        """
        try:
            rows = list(cost_rows(self.study, self.works.first, chosen)) if chosen else self.cost_rows
        except Exception as error:  # what is wrong with a model its trials say; nothing they need comes from here
            return f"what its layers cost is not recorded: {cause(error)}"
        write_rows(self.path("costs", "costs"), "costs", rows, self.write)
        return None

    @cached_property
    def cost_rows(self) -> list[dict[str, Any]]:
        """Rows of what each layer costs in each scheme, worked out once; the errors of a model that does not run."""
        return list(cost_rows(self.study, self.works.first))

    def points_of_repeat(self, repeat: int) -> Mapping[str, Any]:
        """Return the `reference_points` of a repeat's data."""
        return self.reference_points(self.works.of(self.study.data_options(repeat)))

    def _shared(self, arm: Arm) -> dict[str, Any]:
        """Return the columns that arms on the same data share."""
        points = dict(self.points_of_repeat(arm.repeat))
        return {"sign": self.sign, "baselines_json": json.dumps(points.pop("baselines")), **points}

    def study_row(self, *, started_at: datetime, seconds: float, complete: bool, command: str | None) -> None:
        """Write the row of the study, at the start of a run and at its end `seconds` later."""
        finished = now()
        keep_places(self.results, self.study.name, self.study.model_dump(mode="json"), self.write)
        row = {
            "definition_json": self.study.model_dump_json(),
            "schema_version": SCHEMA_VERSION,
            "prereg_hash": self.study.prereg_hash,
            "file_hash": file_hash(self.study),
            "versions_json": self._versions_json(started_at),
            "mode": self.study.mode,
            "seed": self.study.seed,
            "started_at": started_at,
            "finished_at": finished if complete else None,
            "wall_s": seconds if complete else None,
            "tune_qat_version": versions()["tune_qat_version"],
            "git_commit": versions()["git_commit"],
            "command": command,
            "complete": complete,
            "weights_text": self.weights_text,
        }
        write_rows(study_file(self.results, self.study.name), "studies", [row], self.write)

    def _versions_json(self, started_at: datetime) -> str:
        """Return the versions that ran, as they are known before anything of this run has ended."""
        if self._versions is None:
            self._versions = json.dumps(versions_of(self.study, self.results, started_at, self.read))
        return self._versions

    def path(self, table: str, name: str) -> StoragePath:
        """Return a file of this study in the folder of a table."""
        return table_folder(self.results, table, self.study.name) / f"{name}.parquet"

    def _write_trial(self, row: Mapping[str, Any]) -> None:
        write_rows(self.path("trials", row["trial_key"]), "trials", [row], self.write)


def _units(work: Workload) -> dict[str, Any]:
    """Return an arm's columns that say what its metric's numbers mean."""
    task = work.task()
    return {"unit": task.unit, "worst_metric": task.worst_metric}


def now() -> datetime:
    """Return the time in UTC."""
    return datetime.now(UTC)
