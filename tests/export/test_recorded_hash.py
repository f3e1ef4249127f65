"""`tune-qat export` gives the weights that the record means, or none."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.helpers.rows import write
from tests.helpers.studies import tiny_study
from tests.helpers.without_ray import Killed, run_here
from tune_qat.config import TuneQatError
from tune_qat.export.command import export
from tune_qat.results.layout import checkpoint_path
from tune_qat.results.reader import read_rows
from tune_qat.study import Study
from tune_qat.training.checkpoints import load_checkpoint, save_checkpoint

pytestmark = pytest.mark.slow


def study_of(name: str) -> Study:
    return tiny_study(
        name=name,
        quantization={"bits": [[4, 4]]},
        space={"optimizers": ["adam"], "batch_size": {"low": 16, "high": 64}},
        stages={"search": 0, "retrain": 1},
    )


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> Path:
    results = tmp_path_factory.mktemp("first") / "results"
    run_here(study_of("first"), results)
    return results


@pytest.fixture
def results(first: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(first, tmp_path / "results"))


def row_of(results: Path, stage: str) -> dict[str, Any]:
    return next(row for row in read_rows(results, "trials", "first") if row["stage"] == stage)


def exported(results: Path, key: str) -> dict[str, torch.Tensor]:
    output = results.parent / "model.pt"
    export(results, key, output)
    rest: dict[str, torch.Tensor] = load_checkpoint(output)["rest"]
    return rest


def kept_as_before(results: Path, key: str) -> Path:
    """The checkpoint where an earlier version kept it: a file that all studies of the folder shared."""
    own = checkpoint_path(results, "first", key)
    shared = results / "checkpoints" / key / "last.pt"
    shared.parent.mkdir()
    return own.rename(shared)


def test_a_second_study_that_is_cut_off_in_the_same_start_changes_no_model(tmp_path: Path) -> None:
    """It began the start before another study had completed it, and goes on after that."""

    def kill(plan: Any, report: dict[str, Any]) -> None:
        raise Killed

    results = tmp_path / "results"
    with pytest.raises(Killed):
        run_here(study_of("second"), results, watch=kill)
    begun = {path: path.read_bytes() for path in results.rglob("study_id=second/**/*") if path.is_file()}
    run_here(study_of("first"), results)
    assert {path: path.read_bytes() for path in begun} == begun
    start = row_of(results, "pretrain")
    state = load_checkpoint(checkpoint_path(results, "first", start["trial_key"]))
    assert (state["epoch"], start["epochs_run"]) == (2, 2)
    weights = exported(results, start["trial_key"])
    assert all(torch.equal(weights[name], value) for name, value in state["model"].items() if name in weights)
    trained, said = run_here(study_of("second"), results)
    assert trained == [] and not (results / "damaged").exists()
    assert said == ["0 recorded, 2 taken over from first, 1 new"]
    assert {row["status"] for row in read_rows(results, "trials", "second")} == {"completed"}


@pytest.mark.parametrize("stage", ["pretrain", "retrain"])
def test_a_checkpoint_of_another_epoch_is_refused(results: Path, stage: str) -> None:
    row = row_of(results, stage)
    path = kept_as_before(results, row["trial_key"])
    exported(results, row["trial_key"])
    (results.parent / "model.pt").unlink()
    # As another study leaves it there that is at an earlier epoch of the same trial.
    state = load_checkpoint(path)
    name = next(name for name in state["model"] if name.endswith("weight"))
    save_checkpoint({**state, "epoch": 1, "model": {**state["model"], name: state["model"][name] * 1.5}}, path)
    with pytest.raises(TuneQatError, match=r"does not hold what its trial ended with: .* epoch 1, and the record says"):
        exported(results, row["trial_key"])
    assert not (results.parent / "model.pt").exists()


@pytest.mark.parametrize("part", ["step of a quantizer", "calibration", "normalisation"])
def test_all_that_an_export_reads_is_in_the_hash(results: Path, part: str) -> None:
    row = row_of(results, "retrain")
    path = checkpoint_path(results, "first", row["trial_key"])
    state = load_checkpoint(path)
    if part == "step of a quantizer":
        name = next(name for name in state["model"] if name.endswith("weight_quantizer.step"))
        state["model"][name] = state["model"][name] * 2
    elif part == "calibration":
        name = next(name for name in state["model"] if name.endswith("input_quantizer._extra_state"))
        state["model"][name] = {**state["model"][name], "signed": not state["model"][name]["signed"]}
    else:
        mean, deviation = state["normalisation"]
        state["normalisation"] = ([value + 1 for value in mean], deviation)
    save_checkpoint(state, path)
    with pytest.raises(TuneQatError, match="does not hold what its trial ended with"):
        exported(results, row["trial_key"])


def test_without_a_recorded_hash_the_epoch_has_to_do_and_that_is_said(results: Path) -> None:
    row = row_of(results, "retrain")
    key = row["trial_key"]
    known = {name: value for name, value in row.items() if name != "study_id"}
    write(results, "first", "trials", key, {**known, "checkpoint_sha256": None})
    path = kept_as_before(results, key)
    said = export(results, key, results.parent / "model.pt")
    assert "The record has no hash of these weights: only their epoch was checked." in said
    state = load_checkpoint(path)
    save_checkpoint({**state, "epoch": 2}, path)
    with pytest.raises(TuneQatError, match="epoch 2, and the record says epoch 3"):
        exported(results, key)
    save_checkpoint({**state, "model": {**state["model"], "conv1.layer.weight": torch.zeros(1)}}, path)
    with pytest.raises(TuneQatError, match="does not fit model 'lenet5'"):
        exported(results, key)
