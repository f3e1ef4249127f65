import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.helpers.rows import MOMENT, epoch_result, filled, full, layer_result, write
from tune_qat.config import TuneQatError, UsageError
from tune_qat.results.reader import check_version, last_epochs, read_rows
from tune_qat.results.schema import SCHEMA_VERSION, TABLES, VERSION_KEY
from tune_qat.results.views import connect
from tune_qat.results.writer import EpochLog


@pytest.mark.parametrize("table", TABLES)
@pytest.mark.parametrize("make", [full, filled])
def test_view_shows_every_column_of_a_row(tmp_path: Path, table: str, make: Callable[[str], dict[str, Any]]) -> None:
    row = make(table)
    write(tmp_path, "study", table, "file", row)
    answer = connect(tmp_path).sql(f"SELECT * FROM {table}").to_arrow_table()
    assert answer.column_names == ["study_id", *TABLES[table].names]
    shown = answer.to_pylist()[0]
    moments = {name: value.replace(tzinfo=None) for name, value in row.items() if value is MOMENT}
    assert shown == {"study_id": "study", **dict.fromkeys(TABLES[table].names), **row, **moments}
    for field in TABLES[table]:
        if not pa.types.is_timestamp(field.type):
            assert answer.schema.field(field.name).type == field.type, field.name


def test_tables_without_files_are_empty_views_with_their_columns(tmp_path: Path) -> None:
    write(tmp_path, "study", "trials", "file", filled("trials"))
    connection = connect(tmp_path)
    for table, schema in TABLES.items():
        found = connection.sql(f"SELECT * FROM {table}").to_arrow_table()
        assert found.column_names == ["study_id", *schema.names]
        assert len(found) == (table == "trials")


@pytest.mark.parametrize("study_id", ["2026", "007", "1e5", "true", "2026-01-02", "NULL"])
def test_study_id_stays_text(tmp_path: Path, study_id: str) -> None:
    write(tmp_path, study_id, "trials", "file", filled("trials"))
    found = connect(tmp_path).execute("SELECT study_id, typeof(study_id) FROM trials").fetchall()
    assert found == [(study_id, "VARCHAR")]
    assert read_rows(tmp_path, "trials")[0]["study_id"] == study_id


def test_last_attempt_of_each_epoch_and_layer_is_shown(tmp_path: Path) -> None:
    for attempt, epochs in ((1, (1, 2)), (2, (2, 3))):
        log = EpochLog(tmp_path, "study", "key")
        for epoch in epochs:
            log.append(epoch_result(epoch, train_loss=float(attempt), layers=(layer_result("conv", attempt / 8),)))
    EpochLog(tmp_path, "study", "other").append(epoch_result(1, train_loss=9.0))
    EpochLog(tmp_path, "two", "key").append(epoch_result(1))
    connection = connect(tmp_path)
    asked = "SELECT epoch, attempt, train_loss FROM epochs WHERE study_id = 'study' AND trial_key = 'key' ORDER BY 1"
    assert connection.execute(asked).fetchall() == [(1, 1, 1.0), (2, 2, 2.0), (3, 2, 2.0)]
    assert connection.execute("SELECT count(*) FROM epochs").fetchall() == [(5,)]
    asked = "SELECT epoch, attempt, layer, step_size FROM layers ORDER BY 1"
    assert connection.execute(asked).fetchall() == [(1, 1, "conv", 0.125), (2, 2, "conv", 0.25), (3, 2, "conv", 0.25)]
    assert [row["attempt"] for row in last_epochs(tmp_path, "study", "key")] == [1, 2, 2]


def test_folders_are_read_side_by_side(tmp_path: Path) -> None:
    for folder, study_id in (("a's [1]", "one"), ("b", "two")):
        write(tmp_path / folder, study_id, "trials", "file", filled("trials"))
    connection = connect(tmp_path / "a's [1]", tmp_path / "b")
    assert connection.execute("SELECT study_id FROM trials ORDER BY 1").fetchall() == [("one",), ("two",)]


def test_one_study_in_two_folders_is_refused(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write(tmp_path / folder, "one", "trials", "file", filled("trials"))
    with pytest.raises(UsageError, match="'one' is in .*a and in .*b"):
        connect(tmp_path / "a", tmp_path / "b")


def test_names_with_a_leading_dot_are_not_read(tmp_path: Path) -> None:
    path = write(tmp_path, "study", "trials", "file", filled("trials"))
    shutil.copy(path, path.with_name(".file.parquet.1.tmp"))
    shutil.copy(path, path.with_name(".copy.parquet"))
    path.with_name("._file.parquet").write_bytes(b"no Parquet")
    assert len(read_rows(tmp_path, "trials")) == 1
    assert connect(tmp_path).execute("SELECT count(*) FROM trials").fetchall() == [(1,)]


def test_an_open_connection_follows_a_running_study(tmp_path: Path) -> None:
    write(tmp_path, "study", "trials", "a", filled("trials", trial_key="a"))
    connection = connect(tmp_path)
    write(tmp_path, "study", "trials", "b", filled("trials", trial_key="b"))
    assert connection.execute("SELECT count(*) FROM trials").fetchall() == [(2,)]


@pytest.mark.parametrize(("make", "words"), [(True, "holds no record of a study"), (False, "does not exist")])
def test_folder_without_a_record_is_named(tmp_path: Path, make: bool, words: str) -> None:
    folder = tmp_path / "none"
    if make:
        folder.mkdir()
    check_version(folder)  # a run may begin in it
    with pytest.raises(TuneQatError, match=f"none {words}.*--results") as caught:
        connect(folder)
    assert caught.value.exit_code == 1


@pytest.mark.parametrize("metadata", [{VERSION_KEY: b"99"}, None])
def test_file_of_another_schema_version_is_named(tmp_path: Path, metadata: dict[bytes, bytes] | None) -> None:
    path = write(tmp_path, "study", "arms", "arms", filled("arms"))
    pq.write_table(pq.read_table(path, partitioning=None).replace_schema_metadata(metadata), path)
    for read in (lambda: connect(tmp_path), lambda: check_version(tmp_path), lambda: read_rows(tmp_path, "arms")):
        with pytest.raises(UsageError, match="arms.parquet was written with schema version") as caught:
            read()
        assert f"reads version {SCHEMA_VERSION}" in str(caught.value)
        assert caught.value.exit_code == 2


@pytest.mark.parametrize("keep", [0, 5, -9], ids=["empty", "head", "without its end"])
def test_damaged_file_is_named(tmp_path: Path, keep: int) -> None:
    write(tmp_path, "study", "trials", "whole", filled("trials"))
    path = write(tmp_path, "study", "trials", "zdamaged", filled("trials"))
    path.write_bytes(path.read_bytes()[:keep])
    for read in (lambda: read_rows(tmp_path, "trials"), lambda: connect(tmp_path)):
        with pytest.raises(TuneQatError, match="zdamaged.parquet cannot be read as Parquet") as caught:
            read()
        assert caught.value.exit_code == 1


def test_other_programs_read_the_tables(tmp_path: Path) -> None:
    write(tmp_path, "one", "trials", "a", filled("trials", trial_key="a"))
    write(tmp_path, "two", "trials", "b", filled("trials", trial_key="b"))
    found = pd.read_parquet(tmp_path / "trials")
    assert sorted(zip(found["study_id"].astype(str), found["trial_key"], strict=True)) == [("one", "a"), ("two", "b")]
    assert found["val_metric"].isna().all()
