"""Experiments of Ray Tune that a crash has torn: what can be read is imported, and what is left out is said."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.importing.sweeps import typed
from tests.importing.test_ray_tune import EXPERIMENT
from tune_qat.config import TuneQatError
from tune_qat.results.reader import read_rows

WHOLE = {0: 2, 1: 9, 2: 9, 3: 7, 6: 3}
"""Epochs of some of the trials."""


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(EXPERIMENT, tmp_path / "sweep")
    return tmp_path / "sweep"


def imported(copy: Path) -> tuple[str, dict[int, dict[str, Any]], bool]:
    """What the import said, the trials by number, and whether the study is complete."""
    results = copy.parent / "results"
    done = typed("import", "ray-tune", copy, "--results", results)
    assert done.exit_code == 0, done.exception
    rows = {row["trial_number"]: row for row in read_rows(results, "trials")}
    (study,) = read_rows(results, "studies")
    assert typed("query", results, "learning_rate").exit_code == 0
    return done.output, rows, study["complete"]


def results_of(copy: Path, number: int, name: str = "result.json") -> Path:
    return next(copy.glob(f"objective_*_{number:05}_*")) / name


def test_a_last_line_that_is_torn_is_left_out_and_counted(copy: Path) -> None:
    path = results_of(copy, 1)
    path.write_bytes(path.read_bytes()[:-200])
    said, rows, complete = imported(copy)
    assert "what cannot be read, as after a crash; lines of results: 1" in said
    assert rows[1]["epochs_run"] == WHOLE[1] - 1
    # How it ended stood in that line.
    assert rows[1]["status"] == "interrupted" and not complete
    assert {number: rows[number]["epochs_run"] for number in WHOLE if number != 1} == {
        number: epochs for number, epochs in WHOLE.items() if number != 1
    }


def test_a_torn_line_that_the_trial_went_on_after(copy: Path) -> None:
    path = results_of(copy, 2)
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:3], lines[3][:40], *lines[3:]]) + "\n")
    said, rows, complete = imported(copy)
    assert "lines of results: 1" in said and complete
    assert (rows[2]["epochs_run"], rows[2]["status"]) == (WHOLE[2], "completed")


@pytest.mark.parametrize("tail", ["12", "\n1,2", ",", ""])
def test_a_last_row_of_a_table_that_is_torn_is_left_out(copy: Path, tail: str) -> None:
    for path in copy.rglob("result.json"):
        path.unlink()
    path = results_of(copy, 1, "progress.csv")
    text = path.read_text().rstrip("\n")
    whole = text if tail.startswith("\n") else text.rpartition("\n")[0] + "\n0.5" * bool(tail)
    path.write_text(whole + tail)
    said, rows, _ = imported(copy)
    assert "lines of results: 1" in said and rows[1]["status"] == "interrupted"
    assert rows[1]["epochs_run"] == (WHOLE[1] if tail.startswith("\n") else WHOLE[1] - 1 - (not tail))


def test_a_trial_whose_state_is_torn_is_left_out_and_counted(copy: Path) -> None:
    (path,) = copy.glob("experiment_state-*.json")
    state = json.loads(path.read_text())
    state["trial_data"][3][0] = state["trial_data"][3][0][:100]
    path.write_text(json.dumps(state))
    said, rows, complete = imported(copy)
    assert "states of trials: 1" in said and len(rows) == 6 and not complete


DEEP = '{"a": ' * 100_000 + "1" + "}" * 100_000
ODD_LINES: dict[str, Callable[[dict[str, Any]], str]] = {
    "deep": lambda line: DEEP,
    "deep inside": lambda line: json.dumps(line)[:-1] + f', "more": {"[" * 400 + "]" * 400}}}',
    "a list": lambda line: "[1]",
    "digits": lambda line: json.dumps(line)[:-1] + f', "more": {"9" * 5_000}}}',
    "no Unicode": lambda line: "\udcff",
}


@pytest.mark.parametrize("kind", ODD_LINES)
def test_a_line_that_is_no_result_is_counted_as_torn(copy: Path, kind: str) -> None:
    path = results_of(copy, 2)
    lines = path.read_text().splitlines()
    lines[4] = ODD_LINES[kind](json.loads(lines[4]))
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="surrogateescape")
    said, rows, _ = imported(copy)
    assert "lines of results: 1" in said and rows[2]["status"] == "completed"


ODD_VALUES: dict[str, Any] = {
    "timestamp": 1e300,
    "time_total_s": float("nan"),
    "hostname": "\ud800",
    "done": "yes",
    "pid": 10**400,
    "\ud800": 1,
}


@pytest.mark.parametrize("name", ODD_VALUES)
def test_a_value_that_nobody_needs_may_be_odd(copy: Path, name: str) -> None:
    path = results_of(copy, 2)
    lines = [{**json.loads(line), name: ODD_VALUES[name]} for line in path.read_text().splitlines()]
    path.write_text("\n".join(map(json.dumps, lines)) + "\n")
    said, rows, complete = imported(copy)
    assert "lost" not in said and complete and rows[2]["epochs_run"] == WHOLE[2]


@pytest.mark.parametrize("folder", ["..", "", "../.."])
def test_a_folder_of_a_trial_lies_in_the_experiment(copy: Path, folder: str) -> None:
    shutil.copy(results_of(copy, 2), copy.parent / "result.json")
    (path,) = copy.glob("experiment_state-*.json")
    state = json.loads(path.read_text())
    trial = {**json.loads(state["trial_data"][3][0]), "relative_logdir": folder}
    state["trial_data"][3][0] = json.dumps(trial)
    path.write_text(json.dumps(state))
    said, rows, _ = imported(copy)
    assert "states of trials: 1" in said and len(rows) == 6


def test_a_state_that_is_no_text_or_too_deep_is_named(copy: Path) -> None:
    (path,) = copy.glob("experiment_state-*.json")
    for content, said in ((b"\xff\xfe", "is not a text file in UTF-8"), (DEEP.encode(), "nest more than 50 deep")):
        path.write_bytes(content)
        refused = typed("import", "ray-tune", copy, "--results", copy.parent / "results")
        assert isinstance(refused.exception, TuneQatError)
        assert str(path) in str(refused.exception) and said in str(refused.exception)
