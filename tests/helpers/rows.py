"""Rows for tests: every required column filled, the ones that matter given by the test."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any, overload

import pyarrow as pa

from tune_qat.config import EpochResult, LayerResult
from tune_qat.results.layout import table_folder
from tune_qat.results.schema import TABLES, required
from tune_qat.results.writer import write_rows
from tune_qat.storage.paths import StoragePath, write_whole

MOMENT = datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)


def filled(table: str, **values: Any) -> dict[str, Any]:
    """A row with `values`, and something of the right type in every other required column."""
    return {**{field.name: _something(field.type) for field in TABLES[table] if required(field)}, **values}


def full(table: str) -> dict[str, Any]:
    """A row with something of the right type in every column."""
    return {field.name: _something(field.type) for field in TABLES[table]}


@overload
def write(results: Path, study_id: str, table: str, name: str, *rows: dict[str, Any]) -> Path: ...
@overload
def write(results: StoragePath, study_id: str, table: str, name: str, *rows: dict[str, Any]) -> StoragePath: ...
def write(results: StoragePath, study_id: str, table: str, name: str, *rows: dict[str, Any]) -> StoragePath:
    """Rows into one file of a study; its path."""
    path = table_folder(results, table, study_id) / f"{name}.parquet"
    write_rows(path, table, rows, _quickly)
    return path


def _quickly(path: StoragePath, data: bytes | memoryview) -> None:
    """A whole file, as the program writes it, but for waiting for the disk: most of the time of a small one."""
    if not isinstance(path, Path):
        write_whole(path, data)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.tmp")
    temporary.write_bytes(data)
    temporary.replace(path)


def epoch_result(epoch: int, **values: Any) -> EpochResult:
    known: dict[str, Any] = {
        "epoch": epoch,
        "status": "running",
        "step": 10 * epoch,
        "examples": 320 * epoch,
        "learning_rate": 0.1,
        "train_loss": 1.0 / epoch,
        "train_metric": 0.5,
        "val_loss": 1.5 / epoch,
        "val_metric": 0.25,
        "val_top5": None,
        "grad_norm": 2.0,
        "grad_norm_max": 4.0,
        "clip_fraction": None,
        "nonfinite_steps": 0,
        "wall_s": 1.5 * epoch,
        "device_s": 2.5 * epoch,
    }
    return EpochResult(**{**known, **values})


def layer_result(layer: str, step_size: float) -> LayerResult:
    return LayerResult(
        layer=layer,
        layer_index=0,
        kind="weight",
        bits=4,
        signed=True,
        exact=True,
        numel=9,
        step_size=step_size,
        step_size_init=0.125,
    )


def _something(kind: pa.DataType) -> Any:
    if pa.types.is_string(kind):
        return "{}"  # text, and JSON where a column holds JSON
    if pa.types.is_boolean(kind):
        return True
    if pa.types.is_timestamp(kind):
        return MOMENT
    return 1.5 if pa.types.is_floating(kind) else 1
