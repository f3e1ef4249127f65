import math
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.helpers.rows import epoch_result, filled, full, layer_result, write
from tune_qat.config import UsageError
from tune_qat.results.reader import last_epochs, read_file, read_rows
from tune_qat.results.schema import OF_TRAINING, TABLES, required
from tune_qat.results.writer import EpochLog, write_rows
from tune_qat.storage.paths import StoragePath, write_whole

FLOATS = [(table, f.name) for table, schema in TABLES.items() for f in schema if pa.types.is_floating(f.type)]
REQUIRED = [(table, f.name) for table, schema in TABLES.items() for f in schema if required(f)]


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("make", [full, filled])
def test_row_comes_back_as_it_was_written(tmp_path: Path, table: str, make: Callable[[str], dict[str, Any]]) -> None:
    row = make(table)
    write(tmp_path, "study", table, "file", row)
    empty = dict.fromkeys(TABLES[table].names)
    assert read_rows(tmp_path, table) == [{"study_id": "study", **empty, **row}]
    assert read_rows(tmp_path, table, "study") == read_rows(tmp_path, table)
    assert read_rows(tmp_path, table, "another") == []


@pytest.mark.parametrize("table", TABLES)
def test_file_has_the_types_of_the_schema(tmp_path: Path, table: str) -> None:
    path = write(tmp_path, "study", table, "file", filled(table))
    assert read_file(path).schema.equals(TABLES[table])


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_number_that_is_not_finite_is_refused_in_every_column(tmp_path: Path, value: float) -> None:
    for table, column in FLOATS:
        with pytest.raises(ValueError, match=f"'{column}' must be finite or NULL"):
            write(tmp_path, "study", table, "file", filled(table, **{column: value}))
    assert not list(tmp_path.rglob("*.parquet"))


def test_required_column_without_a_value_is_refused(tmp_path: Path) -> None:
    for table, column in REQUIRED:
        with pytest.raises(ValueError, match=f"'{column}' must have a value"):
            write(tmp_path, "study", table, "file", filled(table, **{column: None}))


def test_unknown_column_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"unknown columns \['val_metrics'\]"):
        write(tmp_path, "study", "trials", "file", filled("trials", val_metrics=0.5))


@pytest.mark.parametrize(("column", "value"), [("epochs", 1.5), ("epochs", "3"), ("optimizer", 7), ("seed", 2**63)])
def test_value_of_another_type_is_refused(tmp_path: Path, column: str, value: object) -> None:
    with pytest.raises(ValueError, match=column):
        write(tmp_path, "study", "trials", "file", filled("trials", **{column: value}))


def test_failed_replace_leaves_the_old_file_and_nothing_visible(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path, "study", "trials", "a", filled("trials", trial_key="old"))

    def fail(*_: object, **folders: Any) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(os, "replace", fail)
    for name in ("a", "b"):
        with pytest.raises(OSError, match="no space left"):
            write(tmp_path, "study", "trials", name, filled("trials", trial_key="new"))
    assert [row["trial_key"] for row in read_rows(tmp_path, "trials")] == ["old"]
    assert [found.name for found in path.parent.glob("[!.]*")] == ["a.parquet"]


def test_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path, "study", "trials", "a", filled("trials", trial_key="old"))
    replace, seen = os.replace, []

    def look(source: str, target: str, **folders: Any) -> None:
        seen.append([row["trial_key"] for row in read_rows(tmp_path, "trials")])
        replace(source, target, **folders)

    monkeypatch.setattr(os, "replace", look)
    write_rows(path, "trials", [filled("trials", trial_key="new")])
    assert seen == [["old"]]
    assert [row["trial_key"] for row in read_rows(tmp_path, "trials")] == ["new"]


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".hidden", "a b", "a" * 101, "a\n", "study_id=*"])
def test_name_that_is_no_plain_file_name_is_refused_before_anything_is_written(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="name"):
        write(tmp_path, name, "trials", "file", filled("trials"))
    with pytest.raises(UsageError, match="name"):
        EpochLog(tmp_path, "study", name)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["../up", "a/b", ".hidden"])
def test_name_that_is_no_plain_file_name_is_refused_when_read(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="name"):
        read_rows(tmp_path, "trials", name)


class TestEpochLog:
    def test_epoch_is_on_disk_with_its_layers_when_append_returns(self, tmp_path: Path) -> None:
        log = EpochLog(tmp_path, "study", "key")
        for epoch in (1, 2):
            log.append(epoch_result(epoch, layers=(layer_result("conv", epoch / 8), layer_result("head", epoch / 4))))
            assert [row["epoch"] for row in read_rows(tmp_path, "epochs")] == list(range(1, epoch + 1))
            assert len(read_rows(tmp_path, "layers")) == 2 * epoch
        last = read_rows(tmp_path, "epochs")[-1]
        assert (last["step"], last["train_loss"], last["val_top5"], last["attempt"]) == (20, 0.5, None, 1)
        steps = [(row["epoch"], row["layer"], row["step_size"]) for row in read_rows(tmp_path, "layers")]
        assert steps == [(1, "conv", 0.125), (1, "head", 0.25), (2, "conv", 0.25), (2, "head", 0.5)]

    def test_an_epoch_is_never_there_without_its_layers(self, tmp_path: Path) -> None:
        def refuse_layers(path: StoragePath, content: Any) -> None:
            if path.parent.parent.name == "layers":
                raise OSError("no space left")
            write_whole(path, content)

        log = EpochLog(tmp_path, "study", "key", refuse_layers)
        with pytest.raises(OSError, match="no space left"):
            log.append(epoch_result(1, layers=(layer_result("conv", 0.125),)))
        assert read_rows(tmp_path, "epochs") == []

    def test_each_log_is_a_new_attempt_and_the_last_one_of_an_epoch_counts(self, tmp_path: Path) -> None:
        first = EpochLog(tmp_path, "study", "key")
        for epoch in (1, 2, 3):
            first.append(epoch_result(epoch, train_loss=1.0))
        second = EpochLog(tmp_path, "study", "key")
        second.append(epoch_result(3, train_loss=2.0))
        assert (first.attempt, second.attempt) == (1, 2)
        kept = [(row["epoch"], row["attempt"], row["train_loss"]) for row in last_epochs(tmp_path, "study", "key")]
        assert kept == [(1, 1, 1.0), (2, 1, 1.0), (3, 2, 2.0)]

    def test_attempts_are_counted_as_numbers_and_by_whole_key(self, tmp_path: Path) -> None:
        for attempt in (9, 10):
            write(tmp_path, "study", "epochs", f"key.{attempt}", filled("epochs", trial_key="key", attempt=attempt))
        write(tmp_path, "study", "epochs", "key.x.77", filled("epochs", trial_key="key.x", attempt=77))
        assert EpochLog(tmp_path, "study", "key").attempt == 11
        assert EpochLog(tmp_path, "study", "ke").attempt == 1
        assert EpochLog(tmp_path, "another", "key").attempt == 1

    def test_diverged_epoch_has_no_number_where_there_is_none(self, tmp_path: Path) -> None:
        EpochLog(tmp_path, "study", "key").append(
            epoch_result(1, status="diverged", train_loss=None, val_metric=None, diverged_at_step=7)
        )
        row = last_epochs(tmp_path, "study", "key")[0]
        assert (row["status"], row["train_loss"], row["val_metric"]) == ("diverged", None, None)
        assert row["diverged_at_step"] == 7

    def test_epoch_that_is_not_finite_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ValueError, match="grad_norm"):
            EpochLog(tmp_path, "study", "key").append(epoch_result(1, grad_norm=math.nan))


@pytest.mark.parametrize("table", TABLES)
def test_imported_rows_may_lack_what_their_study_does_not_say_and_nothing_else(tmp_path: Path, table: str) -> None:
    path = tmp_path / "file.parquet"
    for field in TABLES[table]:
        row = filled(table, **{field.name: None})
        if field.nullable and not (table == "trials" and field.name in OF_TRAINING):
            write_rows(path, table, [row], imported=True)
            assert read_file(path).to_pylist()[0][field.name] is None
        else:
            with pytest.raises(ValueError, match="must have a value"):
                write_rows(path, table, [row], imported=True)


@pytest.mark.parametrize("name", OF_TRAINING)
def test_what_is_trained_has_an_optimizer_and_a_rate_and_what_is_calibrated_may_lack_them(
    tmp_path: Path, name: str
) -> None:
    path = tmp_path / "file.parquet"
    write_rows(path, "trials", [filled("trials", **{"stage": "calibrated", name: None}), filled("trials")])
    assert read_file(path).to_pylist()[0][name] is None
    with pytest.raises(ValueError, match=f"column '{name}' must have a value"):
        write_rows(
            path,
            "trials",
            [
                filled("trials", **{"stage": "calibrated", name: None}),
                filled("trials", **{"stage": "search", name: None}),
            ],
        )
