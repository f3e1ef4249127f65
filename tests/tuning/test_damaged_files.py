"""A finished study whose files are damaged, or cannot be written: what is lost is run again, and nothing else."""

import os
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.namespaces import in_namespaces
from tests.helpers.runs import assert_whole, command, study_file
from tests.helpers.without_ray import run_here
from tune_qat.results.layout import checkpoint_path, table_folder
from tune_qat.results.reader import last_epochs, read_rows
from tune_qat.results.writer import write_rows
from tune_qat.study import Study
from tune_qat.tuning.run import run

pytestmark = [pytest.mark.ray, pytest.mark.slow, pytest.mark.xdist_group("ended")]

OF_ENDED = {"pretrain": 1, "default": 2, "random": 2, "search": 8, "retrain": 4}
"""Trials of the study `ended`."""


@pytest.fixture
def moved(ended: tuple[Study, Path], tmp_path: Path) -> Path:
    """A finished study, in another folder than it was run in."""
    return Path(shutil.copytree(ended[1], tmp_path / "moved"))


def curve(results: Path, key: str) -> list[tuple[Any, ...]]:
    rows = last_epochs(results, "tiny", key)
    return [(row["epoch"], row["train_loss"], row["val_metric"], row["test_metric"]) for row in rows]


def one_of(results: Path, stage: str, **values: Any) -> dict[str, Any]:
    rows = [row for row in read_rows(results, "trials") if row["stage"] == stage]
    return next(row for row in rows if all(row[name] == value for name, value in values.items()))


def test_the_trials_of_damaged_files_are_run_again_and_nothing_else(moved: Path, ended: tuple[Study, Path]) -> None:
    damaged = {
        "epochs": one_of(moved, "default"),
        "layers": one_of(moved, "retrain"),
        "trials": one_of(moved, "random"),
    }
    keys = {row["trial_key"] for row in damaged.values()}
    assert len(keys) == 3
    before = {one["trial_key"]: one["finished_at"] for one in read_rows(moved, "trials")}
    expected = {key: curve(moved, key) for key in keys}
    paths = list[Path]()
    for table, row in damaged.items():
        (path,) = (moved / table).rglob(f"{row['trial_key']}*.parquet")
        path.write_bytes(path.read_bytes()[:-3])
        paths.append(path)
    trained, said = run_here(ended[0], moved)
    assert set(trained) == keys
    assert all(any(str(path) in line for line in said) for path in paths)
    assert_whole(moved, OF_ENDED)
    after = {one["trial_key"]: one["finished_at"] for one in read_rows(moved, "trials")}
    assert {key for key in after if after[key] != before.get(key)} == keys
    # Bit for bit: the same trials, seeds and backend.
    assert {key: curve(moved, key) for key in keys} == expected
    for table, path in zip(damaged, paths, strict=True):
        assert path.name in [one.name for one in (moved / "damaged" / table).rglob("*.parquet")]
    # What a damaged file was part of is set aside with it, and nothing else.
    assert {one.name.partition(".")[0] for one in (moved / "damaged").rglob("*.parquet")} == keys


@pytest.mark.parametrize("damage", ["cut", "pipe"])
def test_a_damaged_row_of_the_study_is_written_again_and_no_trial_is_run(
    moved: Path, ended: tuple[Study, Path], damage: str
) -> None:
    (path,) = (moved / "studies").rglob("*.parquet")
    content = path.read_bytes()
    path.unlink()
    if damage == "pipe":
        os.mkfifo(path)
    else:
        path.write_bytes(content[:-3])
    before = read_rows(moved, "trials")
    trained, said = run_here(ended[0], moved)
    assert trained == []
    assert any(str(path) in line and "set aside in" in line for line in said)
    assert read_rows(moved, "trials") == before
    assert [row["complete"] for row in read_rows(moved, "studies")] == [True]


def test_a_damaged_start_is_trained_again_and_every_arm_stands(moved: Path, ended: tuple[Study, Path]) -> None:
    start = one_of(moved, "pretrain")
    path = checkpoint_path(moved, "tiny", start["trial_key"])
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    before = {one["trial_key"]: one["finished_at"] for one in read_rows(moved, "trials")}
    trained, said = run_here(ended[0], moved)
    assert trained == [start["trial_key"]]
    assert any(str(path) in line and "set aside" in line for line in said)
    after = {one["trial_key"]: one["finished_at"] for one in read_rows(moved, "trials")}
    # On a CPU the same weights come out, bit for bit, so that every other trial still fits.
    assert {key for key in after if after[key] != before.get(key)} == {start["trial_key"]}
    assert_whole(moved, OF_ENDED)


def test_a_damaged_checkpoint_of_a_cut_off_trial_is_set_aside(moved: Path, ended: tuple[Study, Path]) -> None:
    row = one_of(moved, "default")
    key, expected = row["trial_key"], curve(moved, row["trial_key"])
    # As a driver leaves it that is lost after the trial's first epoch.
    own = {name: value for name, value in row.items() if name != "study_id"}
    own |= {"status": "running", "stop_reason": None, "finished_at": None, "epochs_run": None}
    write_rows(table_folder(moved, "trials", "tiny") / f"{key}.parquet", "trials", [own])
    for table in ("epochs", "layers"):
        (path,) = (moved / table).rglob(f"{key}*.parquet")
        first = [one for one in read_rows(moved, table) if one["trial_key"] == key and one["epoch"] == 1]
        write_rows(path, table, [{name: one[name] for name in one if name != "study_id"} for one in first])
    checkpoint = checkpoint_path(moved, "tiny", key)
    checkpoint.parent.mkdir()
    checkpoint.write_bytes(b"no checkpoint")
    said = list[str]()
    assert run(ended[0], results=moved, say=said.append, max_concurrent=1).complete  # by Ray's reports it is said
    assert any(str(checkpoint) in line and "set aside" in line for line in said)
    assert_whole(moved, OF_ENDED)
    assert curve(moved, key) == expected


def test_results_that_cannot_be_written_are_read(moved: Path, ended: tuple[Study, Path]) -> None:
    space = study_file(moved.parent, ended[0])

    def typed(*arguments: str) -> str:
        return " ".join([sys.executable, "-m", "tune_qat", *arguments])

    script = f"""
    mount --bind {moved} {moved} && mount -o remount,bind,ro {moved} || exit 77
    {typed("status", str(moved))} && {typed("query", str(moved), "leaderboard")} || exit 78
    {" ".join(command(space, moved))}
    """
    done = in_namespaces(script)
    assert done.returncode == 1, done.stderr
    assert "study tiny: complete" in done.stdout
    assert f"{moved} cannot be written to" in done.stderr and "Traceback" not in done.stderr
