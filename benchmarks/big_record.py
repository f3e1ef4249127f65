"""A record of many trials that fit a study: keys and recipes from the real planner, curves made up.

python -m benchmarks.big_record STUDY.toml FOLDER [--small-files TRIALS]

Every arm gets its default, its random and its search trials, and the retrain trials of its best; each has all its
epochs, a row of `layers` for each quantizer and epoch, and a decision at each rung. One file a table, as `compact`
leaves it, through the project's own writer; or of the first TRIALS trials the files that trials leave behind.
"""

import argparse
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from tune_qat.config import LayerResult
from tune_qat.quantization.layer_rows import layer_results
from tune_qat.results.layout import table_folder
from tune_qat.results.schema import TABLES
from tune_qat.results.writer import parquet, write_rows
from tune_qat.storage.paths import StoragePath, write_whole
from tune_qat.study import Arm, Study
from tune_qat.training import workload
from tune_qat.training.loop import Training
from tune_qat.training.workload import Workload
from tune_qat.tuning.objective import Objective
from tune_qat.tuning.plan import DataDraws, PlannedTrial, Planner
from tune_qat.tuning.points import random_points
from tune_qat.tuning.queue import StudyQueue
from tune_qat.tuning.record import Record
from tune_qat.tuning.rows import outcome_columns, planned_columns

WHEN = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
PER_TRIAL = ("trials", "epochs", "layers", "decisions")


class BigRecord:
    """Plans and rows of a study's trials."""

    def __init__(self, study: Study, folder: Path) -> None:
        section = study.workload
        self.study, self._folder = study, folder
        self.work: Workload = workload.load(section.model, section.dataset, options=section.options)
        self.planner = Planner(study=study, work=self.work)
        self._trivial_score = self.work.reference_points()["trivial_score"]
        self._record = Record(
            folder, study, DataDraws.of_study(study, lambda options: self.work), self.work.task().sign
        )
        self._quantizers = {arm.arm_id: self._layers(arm) for arm in study.arms()}
        self._best: dict[str, str] = {}

    def trials(self, arm: Arm) -> Iterator[PlannedTrial]:
        """The arm's trials in the order in which they would be run."""
        study, optimizer = self.study, arm.optimizers[0]
        seed, searched = study.trial_seed(arm), study.stages.random + study.stages.search
        plans = []
        if study.stages.default:
            config = study.default_config(arm, optimizer)
            plans.append(self.planner.of_config(config, arm.arm_id, "default", {}, source="default"))
        points = random_points(study.dimensions(optimizer), study.design_seed(arm))
        for number, values in enumerate(islice(points, searched)):
            random = number < study.stages.random
            plans.append(
                self.planner.plan(
                    arm,
                    "random" if random else "search",
                    optimizer,
                    values,
                    seed=seed,
                    number=number if random else number - study.stages.random,
                    source="random" if random else "sampler",
                )
            )
        yield from plans
        best = max(plans, key=lambda plan: (final_metric(plan), plan.trial_key))
        self._best[arm.arm_id] = best.config.config_id
        values = {"learning_rate": best.config.learning_rate, "batch_size": best.config.batch_size}
        for number, seed in enumerate(study.retrain_seeds(arm)):
            yield self.planner.plan(arm, "retrain", optimizer, values, seed=seed, number=number, source="plan")

    def rows(self, plan: PlannedTrial) -> dict[str, list[dict[str, Any]]]:
        """What the record has of a trial, by table; `layers` not, see `layers`."""
        epochs = [epoch_row(plan, epoch) for epoch in range(1, plan.config.epochs + 1)]
        trial = {
            **planned_columns(plan, self.work),
            **outcome_columns(epochs, "completed", sign=self._record.sign, trivial_score=self._trivial_score),
            "status": "completed",
            "rung": max(self.study.rungs, default=None) if plan.stage == "search" else None,
            "backend": "eager",
            "started_at": WHEN,
            "finished_at": WHEN,
        }
        own = {"trial_key": plan.trial_key, "arm_id": plan.arm_id, "cutoff": 0.1, "n_in_rung": plan.number}
        decisions = [
            {**own, "rung": rung, "epoch": rung, "value": epochs[rung - 1]["val_metric"]}
            | {"action": "continue", "decided_at": WHEN}
            for rung in (self.study.rungs if plan.stage == "search" else ())
        ]
        return {"trials": [trial], "epochs": epochs, "decisions": decisions}

    def layers(self, plan: PlannedTrial) -> list[dict[str, Any]]:
        """The quantizers of a trial after each epoch."""
        names = [field.name for field in TABLES["layers"] if hasattr(LayerResult, field.name)]
        return [
            {"trial_key": plan.trial_key, "attempt": 1, "epoch": epoch}
            | {name: getattr(one, name) for name in names}
            | ({"oscillation_frequency": 0.001 * epoch} if one.kind == "weight" else {})
            for epoch in range(1, plan.config.epochs + 1)
            for one in self._quantizers[plan.arm_id]
        ]

    def close(self) -> None:
        """The study's and the arms' rows."""
        self._record.arms(StudyQueue(self.planner, [], objective=Objective(self._record.sign, 0.0)), self._best)
        self._record.study_row(started_at=WHEN, seconds=1.0, complete=True, command=None)

    def _layers(self, arm: Arm) -> list[LayerResult]:
        """The state of the arm's quantizers before training."""
        training = Training(self.study.default_config(arm, arm.optimizers[0]), self.work)
        return list(layer_results(training.model))


def final_metric(plan: PlannedTrial) -> float:
    """A made-up accuracy after the last epoch: best at a learning rate of 1e-3."""
    return epoch_metric(plan, plan.config.epochs)


def epoch_metric(plan: PlannedTrial, epoch: int) -> float:
    """A curve that rises to 0.9 at the best learning rate, a little less at others."""
    away = math.log10(plan.config.learning_rate) + 3
    return 0.9 * math.exp(-away * away / 2) * (1 - math.exp(-epoch / 3)) + 1e-4 * (int(plan.trial_key[:4], 16) / 65536)


def epoch_row(plan: PlannedTrial, epoch: int) -> dict[str, Any]:
    """An epoch's row with numbers in every column that training fills."""
    metric, last = epoch_metric(plan, epoch), epoch == plan.config.epochs
    tested = last and plan.stage == "retrain"
    return {
        "trial_key": plan.trial_key,
        "attempt": 1,
        "epoch": epoch,
        "status": "completed" if last else "running",
        "step": 2 * epoch,
        "examples": 128 * epoch,
        "learning_rate": plan.config.learning_rate / epoch,
        "train_loss": 2.3 - metric,
        "train_metric": metric,
        "val_loss": 2.3 - metric,
        "val_metric": metric,
        "val_top5": min(1.0, 2 * metric),
        "val_metric_pre_bn": None,
        "calibrated_metric": 0.1 if epoch == 1 else None,
        "grad_norm": 1 + metric,
        "grad_norm_max": 2 + metric,
        "clip_fraction": None,
        "nonfinite_steps": 0,
        "diverged_at_step": None,
        "wall_s": 0.1 * epoch,
        "device_s": 0.1 * epoch,
        "test_metric": metric if tested else None,
        "test_top5": min(1.0, 2 * metric) if tested else None,
        "test_loss": 2.3 - metric if tested else None,
        "test_n": 359 if tested else None,
        "test_correct": int(359 * metric) if tested else None,
    }


def write_compact(big: BigRecord) -> int:
    """The whole record, one file a table; trials written."""
    tables: dict[str, list[pa.Table]] = {table: [] for table in PER_TRIAL}
    written = 0
    for arm in big.study.arms():
        plans = list(big.trials(arm))
        found = [big.rows(plan) for plan in plans]
        for table in ("trials", "epochs", "decisions"):
            rows = [row for of_trial in found for row in of_trial[table]]
            tables[table].append(pa.Table.from_pylist(rows, schema=TABLES[table]))
        tables["layers"].append(repeated(big.layers(plans[0]), [plan.trial_key for plan in plans]))
        written += len(plans)
    for table, parts in tables.items():
        whole = pa.concat_tables(parts).sort_by("trial_key")
        write_whole(table_folder(big._folder, table, big.study.name) / "compact-1.parquet", parquet(whole))
    return written


def repeated(rows: Sequence[Mapping[str, Any]], keys: Sequence[str]) -> pa.Table:
    """The rows of one trial for each of the keys."""
    one = pa.Table.from_pylist(list(rows), schema=TABLES["layers"])
    whole = one.take(pa.array(np.tile(np.arange(len(rows)), len(keys))))
    column = pa.array(np.repeat(np.array(keys), len(rows)), pa.string())
    return whole.set_column(0, TABLES["layers"].field("trial_key"), column)


def write_small(big: BigRecord, trials: int) -> int:
    """The files that the first trials leave behind, not waited for as a study waits for the disk; files written."""
    plans = [plan for arm in big.study.arms() for plan in big.trials(arm)][:trials]
    files = 0
    for plan in plans:
        for table, rows in {**big.rows(plan), "layers": big.layers(plan)}.items():
            name = f"{plan.trial_key}.1" if table in ("epochs", "layers") else plan.trial_key
            if rows:
                write_rows(table_folder(big._folder, table, big.study.name) / f"{name}.parquet", table, rows, _at_once)
                files += 1
    return files


def _at_once(path: StoragePath, data: bytes | memoryview) -> None:
    assert isinstance(path, Path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def main() -> None:
    """Write the record."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("study")
    options.add_argument("folder", type=Path)
    options.add_argument("--small-files", type=int, default=0, metavar="TRIALS")
    given = options.parse_args()
    big = BigRecord(Study.load(given.study), given.folder.absolute())
    if given.small_files:
        print(f"{write_small(big, given.small_files)} files of {given.small_files} trials")
    else:
        print(f"{write_compact(big)} trials")
    big.close()


if __name__ == "__main__":
    main()
