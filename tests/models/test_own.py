"""Models of one's own: how they are called, and what is refused before anything is trained."""

from pathlib import Path
from typing import Any

import pytest
import torch

from tests.conformance.models import images
from tests.helpers.own_code import forgetting_code, write_code
from tune_qat import models
from tune_qat.config import UsageError
from tune_qat.config.own_parts import allow
from tune_qat.models.checks import check_model
from tune_qat.training import workload

own_code = pytest.fixture(autouse=True)(forgetting_code)
NETS = """
import random
from torch import nn


class Perceptron(nn.Module):
    def __init__(self, width, depth=1):
        super().__init__()
        layers = [nn.Linear(784 if number == 0 else width, width) for number in range(depth)]
        self.layers = nn.Sequential(nn.Flatten(), *layers, nn.Linear(width, 10))

    def forward(self, images):
        return self.layers(images)


class Tuple(Perceptron):
    def forward(self, images):
        return (self.layers(images),) if self.training else self.layers(images)


class Broken(Perceptron):
    def forward(self, images):
        raise RuntimeError("no such layer")


class NoModule:
    pass


def build(model_input, *, width=4):
    pixels = model_input.channels * model_input.height * model_input.width
    return nn.Sequential(nn.Flatten(), nn.Linear(pixels, width), nn.ReLU(), nn.Linear(width, model_input.classes))


def wrong_shape(model_input):
    return nn.Sequential(nn.Flatten(), nn.Linear(784, model_input.classes + 1))


def no_module(model_input):
    return [nn.Linear(784, 10)]


def no_input():
    return nn.Linear(784, 10)


def fails(model_input):
    raise KeyError("widths")


def drawn_elsewhere(model_input):
    model = build(model_input)
    nn.init.constant_(model[1].bias, random.random())
    return model
"""


@pytest.fixture(autouse=True)
def nets(tmp_path: Path) -> None:
    allow([write_code(tmp_path, {"own_nets/__init__.py": "", "own_nets/nets.py": NETS})])


def build(name: str, **options: Any) -> torch.nn.Module:
    return models.build(f"own_nets.nets:{name}", images(1, 28, 10), 0, options)


def test_a_function_gets_the_models_input_and_the_options() -> None:
    assert build("build", width=7).get_parameter("1.weight").shape == (7, 784)
    first, again = build("build"), build("build")
    assert torch.equal(first.get_parameter("1.weight"), again.get_parameter("1.weight"))


def test_a_class_gets_the_options_alone() -> None:
    assert build("Perceptron", width=3, depth=2).get_parameter("layers.2.weight").shape == (3, 3)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("build", {"widht": 3}, "model options widht: got an unexpected keyword argument 'widht'.*of this one: width"),
        ("Perceptron", {}, r"options \(none\): missing a required argument: 'width'.*A class is called.*width, depth"),
        ("no_input", {}, "too many positional arguments.*A function is called with the model's input first"),
        ("NoModule", {}, "the class NoModule, which is made from no torch.nn.Module"),
        ("no_module", {}, r"gives \[Linear.*which is no torch.nn.Module"),
        ("fails", {}, "cannot be built for images of 28 x 28 with 1 channels and 10 classes: KeyError: 'widths'"),
    ],
)
def test_what_cannot_be_called_is_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        build(name, **options)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("wrong_shape", {}, r"given a batch of shape \(2, 1, 28, 28\) in training, gives \(2, 11\), .* \(2, 10\)"),
        ("Tuple", {"width": 3}, "in training, gives a tuple in place of one tensor"),
        ("Broken", {"width": 3}, "in training, ends in RuntimeError: no such layer"),
        ("drawn_elsewhere", {}, "not the same when it is built twice from one seed: 1.bias differs"),
    ],
)
def test_what_does_not_do_for_the_task_is_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        check_model(f"own_nets.nets:{name}", images(1, 28, 10), options)


def test_a_workload_is_refused_before_its_data_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tune_qat.data.load", None)
    with pytest.raises(UsageError, match="defines no 'biuld' at its top level. Did you mean 'build'"):
        workload.load("own_nets.nets:biuld", "digits", options={})


def test_a_workload_builds_the_model_with_its_options() -> None:
    work = workload.load("own_nets.nets:build", "digits", options={}, model_options={"width": 5})
    assert work.build_model(0).get_parameter("1.weight").shape == (5, 784)
