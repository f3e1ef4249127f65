"""Completed trials of the other studies of a folder, found by key."""

from pathlib import Path
from typing import Any

import pytest

from tests.helpers.rows import filled, write
from tune_qat.results.compaction import compact
from tune_qat.results.layout import table_folder
from tune_qat.results.other_studies import OtherStudies
from tune_qat.results.schema import TABLES


def trial(results: Path, study: str, key: str, status: str = "completed", **values: Any) -> None:
    write(results, study, "trials", key, filled("trials", trial_key=key, status=status, **values))


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for study in ("a", "b", "imported"):
        origin = "optuna 4.0" if study == "imported" else None
        write(tmp_path, study, "studies", "study", filled("studies", origin=origin))
        trial(tmp_path, study, f"of_{study}", device=study)
    trial(tmp_path, "a", "both", device="a")
    trial(tmp_path, "b", "both", device="b")
    for status in ("running", "stopped", "diverged", "error", "interrupted"):
        trial(tmp_path, "a", status, status)
    return tmp_path


def found(results: Path, key: str, study: str = "own") -> list[tuple[Any, ...]]:
    rows = OtherStudies(results, study, ("device", "taken_from")).find(key)
    return [(row["study_id"], row["trial_key"], row["device"], row["taken_from"]) for row in rows]


@pytest.mark.parametrize("compacted", [False, True])
def test_what_is_completed_is_found_in_every_other_study_and_nothing_else(results: Path, compacted: bool) -> None:
    if compacted:
        compact(results)
    assert found(results, "of_a") == [("a", "of_a", "a", None)]
    assert found(results, "both") == [("a", "both", "a", None), ("b", "both", "b", None)]
    assert found(results, "both", study="a") == [("b", "both", "b", None)]
    for key in ("of_imported", "running", "stopped", "diverged", "error", "interrupted", "unknown"):
        assert found(results, key) == []


def test_files_that_are_compacted_or_run_again_since_are_found(results: Path) -> None:
    others = OtherStudies(results, "own", ("device",))
    compact(results)
    assert [row["device"] for row in others.find("both")] == ["a", "b"]
    trial(results, "a", "both", "interrupted")  # its own file counts before the compacted one
    assert [row["study_id"] for row in others.find("both")] == ["b"]


@pytest.mark.parametrize("table", ["trials", "studies"])
def test_a_damaged_study_is_left_out_and_the_others_are_there(results: Path, table: str) -> None:
    for path in table_folder(results, table, "a").iterdir():
        path.write_bytes(path.read_bytes()[:-5])
    assert found(results, "both") == [("b", "both", "b", None)]
    compact_files = table_folder(results, "trials", "a") / "compact-1.parquet"
    compact_files.write_bytes(b"no Parquet")
    assert found(results, "both") == [("b", "both", "b", None)]


def test_a_record_of_before_the_columns_were_there(results: Path) -> None:
    import pyarrow.parquet as pq

    path = table_folder(results, "trials", "a") / "of_a.parquet"
    table = pq.ParquetFile(path).read()
    assert {"taken_from", "device"} <= set(TABLES["trials"].names)
    pq.write_table(table.drop_columns(["taken_from"]), path)
    assert found(results, "of_a") == [("a", "of_a", "a", None)]
