"""An experiment that Ray Tune really ran (make_ray_experiment.py), imported: the questions say what its CSV files say.

Every pickle in it raises when it is loaded.
"""

import csv
import json
import math
import pickle
import shutil
from pathlib import Path

import pytest

import analysis
from tests.importing.sweeps import typed
from tune_qat.results.reader import read_rows

EXPERIMENT = Path(__file__).parent / "ray_experiment"
STATUSES = ["diverged", "completed", "completed", "completed", "stopped", "stopped", "error"]
"""As make_ray_experiment.py lists the trials; the fourth came to its own end after 7 of 9 epochs."""


def curves() -> list[dict[int, float]]:
    """What the CSV files say, read with nothing of ours."""
    found = []
    for path in sorted(EXPERIMENT.glob("objective_*/progress.csv")):
        with path.open() as file:
            rows = list(csv.DictReader(file))
        found.append({int(row["training_iteration"]): float(row["accuracy"]) for row in rows})
    return found


def configurations() -> list[dict[str, object]]:
    return [json.loads(path.read_text()) for path in sorted(EXPERIMENT.glob("objective_*/params.json"))]


@pytest.fixture
def results(tmp_path: Path) -> Path:
    done = typed("import", "ray-tune", EXPERIMENT, "--results", tmp_path / "results")
    assert done.exit_code == 0, done.exception
    return tmp_path / "results"


def test_the_pickles_would_be_noticed() -> None:
    paths = list(EXPERIMENT.rglob("*.pkl"))
    assert paths and "8004953d" in next(EXPERIMENT.glob("experiment_state-*.json")).read_text()
    for path in paths:
        with pytest.raises(AssertionError, match="unpickled"):
            pickle.loads(path.read_bytes())


def test_every_trial_and_epoch_is_there_as_the_csv_files_have_it(results: Path) -> None:
    rows = sorted(read_rows(results, "trials"), key=lambda row: row["trial_number"])
    assert [row["status"] for row in rows] == STATUSES
    assert [row["stop_reason"] for row in rows] == ["scheduler" if one == "stopped" else None for one in STATUSES]
    epochs = read_rows(results, "epochs")
    for row, curve, config in zip(rows, curves(), configurations(), strict=True):
        last = list(curve.values())[-1]
        assert row["val_metric"] == (last if row["status"] in ("completed", "stopped") else None)
        assert (row["epochs"], row["epochs_run"]) == (9, len(curve))
        own = {one["epoch"]: one["val_metric"] for one in epochs if one["trial_key"] == row["trial_key"]}
        assert own == {epoch: None if math.isnan(value) else value for epoch, value in curve.items()}
        assert row["learning_rate"] == config["optimizer"]["lr"]  # type: ignore[index]
        assert row["batch_size"] == config["batch_size"]
        assert row["optimizer"] == config["optimizer"]["name"].lower()  # type: ignore[index]
        assert json.loads(row["params_json"])["optimizer_options"] == {"dropout": config["dropout"]}
    assert "the disk is gone" in rows[-1]["error_text"]


def test_questions_say_what_the_csv_files_say(results: Path) -> None:
    best = {}
    for curve, status, config in zip(curves(), STATUSES, configurations(), strict=True):
        if status == "completed":
            best[config["optimizer"]["name"].lower(), config["optimizer"]["lr"]] = list(curve.values())[-1]  # type: ignore[index]
    frame = analysis.frame(results, "learning_rate")
    found = {
        (row.optimizer, rate): row.best
        for row in frame.itertuples()
        for _, rate in best
        if abs(math.log10(row.learning_rate / rate)) < 0.125 and not math.isnan(row.best)  # its quarter decade
    }
    assert found == best
    divergence = analysis.frame(results, "divergence").set_index("optimizer")
    assert (divergence.loc["sgd", "n"], divergence.loc["sgd", "diverged"]) == (3, 1)
    assert (divergence.loc["adamw", "n"], divergence.loc["adamw", "diverged"]) == (3, 0)
    assert analysis.frame(results, "leaderboard").empty
    # Ray keeps no ranges in what can be read without unpickling: nothing is said of edges.
    assert analysis.frame(results, "edge_of_range").empty
    assert "did not record its ranges" in typed("edges", results).output
    (study,) = read_rows(results, "studies")
    assert (study["origin"], study["complete"]) == ("ray-tune", True)


def test_progress_csv_does_where_result_json_is_gone(results: Path, tmp_path: Path) -> None:
    copy = tmp_path / "sweep"
    shutil.copytree(EXPERIMENT, copy)
    for path in copy.rglob("result.json"):
        path.unlink()
    other = tmp_path / "other"
    assert typed("import", "ray-tune", copy, "--results", other).exit_code == 0
    for table in ("trials", "epochs"):
        same = [sorted(map(_without_names, read_rows(place, table)), key=str) for place in (results, other)]
        assert same[0] == same[1]


def _without_names(row: dict[str, object]) -> dict[str, object]:
    return {name: value for name, value in row.items() if name not in ("study_id", "workload", "trial_key")}


def test_a_minimised_metric_of_the_users_choice(tmp_path: Path) -> None:
    results = tmp_path / "results"
    done = typed("import", "ray-tune", EXPERIMENT, "--results", results, "--metric", "train_loss", "--as", "loss")
    assert "train_loss, smaller is better" in done.output
    (arm,) = read_rows(results, "arms")
    assert (arm["metric"], arm["sign"]) == ("train_loss", -1)
    smallest = min(
        1 - list(curve.values())[-1] for curve, one in zip(curves(), STATUSES, strict=True) if one == "completed"
    )
    # train_loss is 1 - accuracy, computed once more here: the last digit may differ.
    assert analysis.frame(results, "learning_rate")["best"].min() == pytest.approx(smallest, abs=1e-15)


def test_an_experiment_that_was_cut_off(tmp_path: Path) -> None:
    copy = tmp_path / "sweep"
    shutil.copytree(EXPERIMENT, copy)
    (path,) = copy.glob("experiment_state-*.json")
    state = json.loads(path.read_text())
    for number, status in ((1, "RUNNING"), (2, "PENDING")):
        trial = json.loads(state["trial_data"][number][0])
        state["trial_data"][number][0] = json.dumps({**trial, "status": status})
    path.write_text(json.dumps(state))
    shutil.rmtree(next(copy.glob("objective_*_00002_*")))
    done = typed("import", "ray-tune", copy, "--results", tmp_path / "results")
    assert "1 not ended" in done.output and "not started" in done.output
    rows = {row["trial_number"]: row for row in read_rows(tmp_path / "results", "trials")}
    assert rows[1]["status"] == "interrupted" and 2 not in rows
    (study,) = read_rows(tmp_path / "results", "studies")
    assert not study["complete"] and study["finished_at"] is None
