"""The table of tasks. Free of torch and torchmetrics: a task is imported when one is made."""

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from tune_qat.config import UsageError
from tune_qat.config.entry_points import entry_points
from tune_qat.config.lookup import Table
from tune_qat.config.own_parts import is_own, load_part
from tune_qat.data.spec import CLASSIFICATION, REGRESSION, SEGMENTATION, SUPER_RESOLUTION


@dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """A line of the table of tasks."""

    name: str
    summary: str
    metric: str
    build: str
    """`package.module:Class`, a `Task`."""


TASKS = Table(
    "task",
    (
        TaskSpec(
            name=CLASSIFICATION,
            summary="classes of samples: cross-entropy, accuracy",
            metric="accuracy",
            build="tune_qat.data.classification:Classification",
        ),
        TaskSpec(
            name=REGRESSION,
            summary="numbers: mean squared error, R^2",
            metric="r2",
            build="tune_qat.data.regression:Regression",
        ),
        TaskSpec(
            name=SEGMENTATION,
            summary="a class for each pixel: cross-entropy, mean intersection over union",
            metric="mean_iou",
            build="tune_qat.data.segmentation:Segmentation",
        ),
        TaskSpec(
            name=SUPER_RESOLUTION,
            summary="larger images: mean squared error, PSNR",
            metric="psnr",
            build="tune_qat.data.super_resolution:SuperResolution",
        ),
    ),
)


def metric_name(task: str) -> str:
    """Return the name of a task's metric; empty for one of the user's own, which is not imported for that.

    Raises:
        UsageError: an unknown task.
    """
    return "" if is_users(task, "task", TASKS) else TASKS.get_spec(task).metric


def is_users(name: str, kind: str, table: Collection[str]) -> bool:
    """Tell whether a name is that of a part of the user's: an import path, or what an installed package offers."""
    return is_own(name) or (name not in table and name in entry_points(kind))


def users_part(name: str, kind: str) -> Any:
    """Import a part of the user's.

    Raises:
        UsageError: it may not or cannot be imported.
    """
    if is_own(name):
        return load_part(name, kind)
    try:
        return entry_points(kind)[name].load()
    except Exception as error:  # whatever an installed package does
        raise UsageError(f"{kind.capitalize()} {name!r} cannot be imported from its package: {error}.") from error
