"""Records of whole studies without training: their definition and arms as they are, trials as a test says."""

from pathlib import Path
from typing import Any

from tests.helpers.records import SmallStudy, record_of
from tune_qat.study import Study


def full(study: Study, results: Path, best: dict[str, dict[str, Any]] | None = None, **more: Any) -> SmallStudy:
    """Every planned search trial ended in the middle of the ranges, the first not so near to it.

    `best` are values of the best trial of an optimizer's arms, a random one.
    """
    record = record_of(study, results, **more)
    for arm in study.arms():
        for number in range(study.stages.search):
            optimizer = arm.optimizers[number % len(arm.optimizers)]
            rate = 1e-2 if optimizer != "adam" else 1e-3 if number else 2e-4
            values: dict[str, Any] = {"learning_rate": rate, "batch_size": 32, "val_metric": 0.5 + number / 1000}
            record.trial(arm.arm_id, "search", optimizer=optimizer, **values)
        for optimizer in (best or {}).keys() & arm.optimizers:
            values = {"learning_rate": 1e-2, "batch_size": 32, **(best or {})[optimizer], "val_metric": 0.9}
            record.trial(arm.arm_id, "random", optimizer=optimizer, **values)
    return record
