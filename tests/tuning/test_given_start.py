"""Studies that start from weights of another program: the start is kept with the results, and is in every key."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from tests.conformance.models import images
from tests.helpers.studies import tiny_study
from tests.helpers.without_ray import run_here
from tune_qat import models
from tune_qat.config import TuneQatError, UsageError
from tune_qat.rerun.again import Rerun
from tune_qat.rerun.recorded import find
from tune_qat.results.layout import GIVEN, given_start_path
from tune_qat.results.reader import read_rows
from tune_qat.study import Study
from tune_qat.training.checkpoints import load_weights, weights_sha256
from tune_qat.tuning.outlook import outlook
from tune_qat.tuning.run import run

FEW: dict[str, Any] = {
    "name": "given",
    "quantization": {"bits": [[4, 4]]},
    "space": {"optimizers": ["adam"], "batch_size": {"low": 16, "high": 64}},
    "stages": {"default": True, "random": 0, "search": 0, "retrain": 1},
}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    """Weights of a LeNet-5 for 26 classes."""
    path = tmp_path / "letters.safetensors"
    save_file(models.build("lenet5", images(1, 28, 26), 7).state_dict(), path)
    return path


def study_from(weights: Path | str, **training: Any) -> Study:
    direct = {"epochs": 1, "init": "weights", "weights": str(weights), **training}
    pretrain = {"pretrain": {"batch_size": 32, "epochs": 1}} if direct["init"] == "pretrain" else {"pretrain": None}
    return tiny_study(**FEW, **pretrain, training=direct)


def test_arms_start_from_what_is_kept(weights: Path, tmp_path: Path) -> None:
    results, study = tmp_path / "results", study_from(weights)
    trained, said = run_here(study, results)
    told = "8 of 10 tensors, fc3 left out: 26 classes for 10"
    assert len(trained) == 2 and any(told in line for line in said), said
    rows = read_rows(results, "trials", "given")
    (sha256,) = {row["init_checkpoint_sha256"] for row in rows}
    kept = load_weights(given_start_path(results, "given", sha256))
    assert weights_sha256(kept) == sha256
    given = models.build("lenet5", images(1, 28, 26), 7).state_dict()
    assert torch.equal(kept["conv1.weight"], given["conv1.weight"]) and kept["fc3.weight"].shape == (10, 84)
    assert read_rows(results, "studies", "given")[0]["weights_text"] == told
    assert {row["init"] for row in read_rows(results, "arms", "given")} == {"weights"}
    assert not any("not fit" in line for line in outlook(study, results))
    again = Rerun(find(results, rows[0]["trial_key"]))
    list(again.epochs())
    assert again.verdict().same


def test_a_second_run_needs_the_file_no_more(weights: Path, tmp_path: Path) -> None:
    results, study = tmp_path / "results", study_from(weights)
    first, _ = run_here(study, results)
    weights.unlink()
    more = study.model_copy(update={"stages": study.stages.model_copy(update={"retrain": 2})})
    trained, said = run_here(more, results)
    assert len(trained) == 1 and not set(trained) & set(first)
    assert any("do not exist. The study goes on from what it has kept" in line for line in said)


def test_a_damaged_start_is_made_again(weights: Path, tmp_path: Path) -> None:
    results, study = tmp_path / "results", study_from(weights)
    run_here(study, results)
    (path,) = (results / "checkpoints" / "study_id=given").glob(f"{GIVEN}*/last.pt")
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    more = study.model_copy(update={"stages": study.stages.model_copy(update={"retrain": 2})})
    assert len(run_here(more, results)[0]) == 1
    assert len(load_weights(path)) == 10


def test_other_weights_are_other_trials(weights: Path, tmp_path: Path) -> None:
    results = tmp_path / "results"
    first, _ = run_here(study_from(weights), results)
    save_file(models.build("lenet5", images(1, 28, 26), 8).state_dict(), weights)
    second, said = run_here(study_from(weights), results)
    assert len(second) == 2 and not set(first) & set(second)
    assert len(list((results / "checkpoints" / "study_id=given").glob(f"{GIVEN}*"))) == 2
    assert any("weights of the start" in line for line in said), said


def test_a_model_is_trained_from_them_first(weights: Path, tmp_path: Path) -> None:
    results, study = tmp_path / "results", study_from(weights, init="pretrain")
    trained, _ = run_here(study, results)
    rows = {row["stage"]: row for row in read_rows(results, "trials", "given")}
    kept = load_weights(given_start_path(results, "given", rows["pretrain"]["init_checkpoint_sha256"]))
    assert kept["fc3.weight"].shape == (10, 84)
    assert rows["default"]["init_checkpoint_sha256"] == rows["pretrain"]["checkpoint_sha256"]
    assert run_here(study, results)[0] == [] and len(trained) == 3
    assert not any("not fit" in line for line in outlook(study, results))
    again = Rerun(find(results, rows["pretrain"]["trial_key"]))
    list(again.epochs())
    assert again.verdict().same


def test_weights_of_another_network_start_nothing(tmp_path: Path) -> None:
    torch.save({"conv1.weight": torch.zeros(1)}, tmp_path / "other.pt")
    with pytest.raises(TuneQatError, match=r"other.pt, given for .*, are those of another network: 0 of 10"):
        run(study_from(tmp_path / "other.pt"), results=tmp_path / "results")
    assert not (tmp_path / "results").exists()


@pytest.mark.parametrize(
    ("training", "message"),
    [
        ({"init": "weights"}, 'init = "weights" needs weights'),
        ({"init": "scratch", "weights": "timm"}, 'weights is used with init = "weights"'),
        ({"weights": "timm"}, r"needs a \[pretrain\] section; to start arms from the weights themselves"),
    ],
)
def test_what_does_not_go_together_is_refused(training: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        tiny_study(pretrain=None, training={"epochs": 1, **training})


def test_the_record_names_no_place_of_this_machine(weights: Path, tmp_path: Path) -> None:
    run_here(study_from(weights), tmp_path / "results")
    (row,) = read_rows(tmp_path / "results", "studies", "given")
    assert json.loads(row["definition_json"])["training"]["weights"] == ".../letters.safetensors"


def test_published_weights_of_a_model_without_any_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is no network of timm"):
        run(study_from("timm"), results=tmp_path / "results")
