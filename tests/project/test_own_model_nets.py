"""The sections on networks and weights of docs/own_model.md: their blocks are run as they stand there."""

import tomllib
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import save_file

from tests.cli.typed import tune_qat as tune_qat  # the fixture
from tests.conformance.models import images
from tests.helpers.own_code import forgetting_code, write_code
from tests.helpers.studies import tiny_study
from tests.helpers.without_ray import run_here
from tests.project.pages import section_blocks
from tune_qat import models
from tune_qat.config.own_parts import allow
from tune_qat.models.checks import check_model

own_code = pytest.fixture(autouse=True)(forgetting_code)


def blocks(heading: str, language: str) -> list[str]:
    return section_blocks("docs/own_model.md", heading, language)


def test_a_network_of_your_own(tmp_path: Path) -> None:
    (source,) = blocks("A network of your own", "python")
    (written,) = blocks("A network of your own", "toml")
    allow([write_code(tmp_path, {source.splitlines()[0].removeprefix("# "): source})])
    workload = tomllib.loads(written)["workload"]
    model = models.build(workload["model"], images(1, 28, 10), 0, workload["model_options"])
    assert model.get_parameter("1.weight").shape == (64, 784)
    check_model("my_package.nets:Perceptron", images(1, 28, 10), {"width": 8})


def test_a_network_of_a_library() -> None:
    (written,) = blocks("A network of timm or torchvision", "toml")
    study = tiny_study(workload={**tomllib.loads(written)["workload"], "options": {"train_limit": 128}})
    config = study.default_config(study.arms()[0], "adam")
    check_model(config.model, images(1, 28, 10), config.model_options)
    models.check_found("torchvision:regnet_y_400mf")


def test_weights_to_start_from(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (written,), (said,) = blocks("Weights to start from", "toml"), blocks("Weights to start from", "text")
    monkeypatch.chdir(tmp_path)
    save_file(models.build("lenet5", images(1, 28, 26), 7).state_dict(), "letters.safetensors")
    training = {**tomllib.loads(written)["training"], "epochs": 1}
    few = {"default": True, "random": 0, "search": 0, "retrain": 0}
    study = tiny_study(training=training, pretrain=None, stages=few, quantization={"bits": [[4, 4]]})
    _, told = run_here(study, tmp_path / "results")
    assert said.strip() in told


def test_train_takes_them_too(tmp_path: Path, tune_qat: Any) -> None:
    save_file(models.build("lenet5", images(1, 28, 26), 7).state_dict(), tmp_path / "letters.safetensors")
    trial = ("train", "--model", "lenet5", "--dataset", "digits", "--set", "dataset_options.train_limit=128")
    given = (*trial, "--epochs", "1", "--weights", str(tmp_path / "letters.safetensors"))
    done = tune_qat(*given)
    assert done.code == 0 and done.err.endswith(
        "letters.safetensors: 8 of 10 tensors, fc3 left out: 26 classes for 10\n"
    )
    both = tune_qat(*given, "--init", "other.pt")
    assert both.code == 2 and "from a checkpoint (init) or from weights (--weights), but got both" in both.err
