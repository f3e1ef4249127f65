"""Models beside the table, by name alone: what a study file may say of them, without an import."""

import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from tests.conformance.models import images
from tests.helpers.own_code import forgetting_code, write_code
from tune_qat import data, models
from tune_qat.config import UsageError, entry_points
from tune_qat.config.own_parts import allow

OFFERED = """
from torch import nn


def build(model_input, width=3):
    return nn.Sequential(nn.Flatten(), nn.Linear(784, width), nn.Linear(width, 10))
"""
own_code = pytest.fixture(autouse=True)(forgetting_code)


def test_names_are_told_apart_without_torch() -> None:
    code = (
        "import sys; from tune_qat import data, models\n"
        "for name in ('timm:resnet18.a1_in1k', 'torchvision:vit_b_16', 'mine.nets:build', 'lenet5'):\n"
        "    models.check_fits_task(name, data.get_spec('digits')); models.check_options(name, {})\n"
        "sys.exit(bool({'torch', 'timm', 'torchvision', 'mine'} & set(sys.modules)))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


@pytest.mark.parametrize("name", ["timm:", "timm:hf-hub:a/b", "timm:../vit", "torchvision:a b", "timm:/etc/passwd"])
def test_a_path_is_no_name_of_a_library(name: str) -> None:
    with pytest.raises(UsageError, match="must be written as .*:NAME"):
        models.get_spec(name)


@pytest.mark.parametrize(
    ("name", "option", "message"),
    [
        ("lenet5", "width", "has no option 'width'. It takes none."),
        ("timm:resnet18", "num_classes", "follows from the data"),
        ("timm:resnet18", "img_size", "follows from the data"),
        ("timm:resnet18", "checkpoint_path", "training.weights"),
        ("timm:resnet18", "pretrained", "training.weights"),
        ("timm:resnet18", "features_only", "something else than a classifier"),
        ("torchvision:resnet18", "weights", "training.weights"),
    ],
)
def test_options_that_are_not_the_users_are_refused(name: str, option: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        models.check_options(name, {option: 1})


def test_a_library_is_for_classification() -> None:
    with pytest.raises(UsageError, match="'timm:resnet18' is made for classification, but dataset 'photos' is for"):
        models.check_fits_task("timm:resnet18", data.get_spec("photos"))


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm:vit_tiny_patch16_244", r"timm has no .* Did you mean 'vit_tiny_patch16_224'\? All names: python -c "),
        ("timm:resnet18.a1_in2k", r"Did you mean 'resnet18.a1_in1k'\?"),
        ("torchvision:regnet_y_400fm", r"torchvision has no .* Did you mean 'regnet_y_400mf'\?"),
        ("torchvision:fcn_resnet50", r"no classification network"),
    ],
)
def test_an_unknown_network_gets_the_nearest_name_and_is_not_built(name: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        models.check_found(name)


@pytest.fixture
def offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An installed package that offers a model as `small`, and one under a name of the table."""
    write_code(tmp_path, {"offering_nets.py": OFFERED})
    monkeypatch.syspath_prepend(tmp_path)
    points = [metadata.EntryPoint(name, "offering_nets:build", "tune_qat.models") for name in ("small", "lenet5")]

    def found(**wanted: Any) -> list[metadata.EntryPoint]:
        return points if wanted == {"group": "tune_qat.models"} else []

    monkeypatch.setattr(metadata, "entry_points", found)
    entry_points.entry_points.cache_clear()
    yield
    entry_points.entry_points.cache_clear()
    sys.modules.pop("offering_nets", None)


def test_an_installed_package_offers_models_by_name(offered: None) -> None:
    models.check_fits_task("small", data.get_spec("digits"))
    assert "offering_nets" not in sys.modules
    assert models.build("small", images(1, 28, 10), 0, {"width": 7}).get_parameter("1.weight").shape == (7, 784)
    assert models.get_spec("lenet5").source != "the user's own"


def test_a_folder_is_needed_for_a_model_of_ones_own(tmp_path: Path) -> None:
    models.check_fits_task("mine.nets:build", data.get_spec("digits"))
    with pytest.raises(UsageError, match="mine/nets.py"):
        models.build("mine.nets:build", images(1, 28, 10), 0)
    allow([tmp_path])
    with pytest.raises(UsageError, match=r"'mine.nets:build' is not found"):
        models.build("mine.nets:build", images(1, 28, 10), 0)
