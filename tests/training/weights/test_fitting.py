"""Which tensors of given weights a network takes, which it makes anew, and whose weights it refuses."""

from pathlib import Path

import pytest
import torch
from timm.models import adapt_input_conv

from tests.conformance.models import images
from tune_qat import models
from tune_qat.config import TuneQatError
from tune_qat.training.checkpoints import save_checkpoint, start_from
from tune_qat.training.weights.fitting import load_fitting

NET = "torchvision:mnasnet0_5"
"""A small network of several kinds of layers: 52 convolutions, each with a batch norm, and a linear layer."""


def weights(classes: int, channels: int = 3, seed: int = 1) -> dict[str, torch.Tensor]:
    return models.build(NET, images(channels, 32, classes), seed).state_dict()


def fitted(given: dict[str, torch.Tensor], classes: int = 10, channels: int = 3, side: int = 32):  # type: ignore[no-untyped-def]
    wanted = images(channels, side, classes)
    model = models.build(NET, wanted, 0)
    return model, load_fitting(model, given, wanted, "Weights w.pt")


def test_all_of_the_same_network() -> None:
    given = weights(10)
    model, fit = fitted(given)
    assert all(torch.equal(value, given[name]) for name, value in model.state_dict().items())
    assert str(fit) == "262 of 262 tensors"


def test_a_head_of_other_classes_is_made_anew() -> None:
    given, fresh = weights(1000), weights(10, seed=0)
    model, fit = fitted(given)
    state = model.state_dict()
    assert str(fit) == "260 of 262 tensors, classifier.1 left out: 1,000 classes for 10"
    assert torch.equal(state["classifier.1.weight"], fresh["classifier.1.weight"])
    assert torch.equal(state["layers.0.weight"], given["layers.0.weight"])


@pytest.mark.parametrize("channels", [1, 4])
def test_a_stem_of_other_channels_is_timms(channels: int) -> None:
    given = weights(1000)
    model, fit = fitted(given, channels=channels)
    expected = adapt_input_conv(channels, given["layers.0.weight"])
    assert torch.equal(model.state_dict()["layers.0.weight"], expected)
    assert str(fit) == (
        f"260 of 262 tensors, classifier.1 left out: 1,000 classes for 10; layers.0 from 3 channels to {channels}"
    )


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module.", "network."])
def test_beginnings_of_names_are_taken_off(prefix: str) -> None:
    given = weights(10)
    model, fit = fitted({prefix + name: value for name, value in given.items()})
    assert torch.equal(model.state_dict()["layers.0.weight"], given["layers.0.weight"])
    assert str(fit) == "262 of 262 tensors"


def test_a_network_of_enlarged_images_takes_the_plain_ones() -> None:
    given = weights(10)
    model, fit = fitted(given, side=28)
    assert torch.equal(model.state_dict()["network.layers.0.weight"], given["layers.0.weight"])
    assert str(fit) == "262 of 262 tensors"


def test_a_names_own_beginning_stays() -> None:
    model = torch.nn.Module()
    model.network = torch.nn.Linear(3, 10)
    given = {name: torch.ones_like(value) for name, value in model.state_dict().items()}
    load_fitting(model, given, images(3, 32, 10), "Weights w.pt")
    assert bool((model.network.weight == 1).all())


def test_old_files_have_no_steps_of_their_statistics() -> None:
    given = {name: value for name, value in weights(10).items() if not name.endswith("num_batches_tracked")}
    model, fit = fitted(given)
    assert str(fit) == "262 of 262 tensors"
    assert model.state_dict()["layers.1.num_batches_tracked"] == 1  # 0 is what calibration takes for no statistics


def test_a_few_missing_and_left_over_tensors_are_said() -> None:
    given = weights(10)
    del given["classifier.1.bias"]
    given["extra.weight"] = torch.ones(2)
    _, fit = fitted(given)
    assert str(fit) == "261 of 262 tensors, not found: classifier.1.bias; not used: extra.weight"


def test_half_precision_becomes_single() -> None:
    given = {name: value.half() if value.is_floating_point() else value for name, value in weights(10).items()}
    model, _ = fitted(given)
    found = model.state_dict()["layers.0.weight"]
    assert found.dtype == torch.float32 and torch.equal(found, given["layers.0.weight"].float())


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (lambda: models.build("lenet5", images(3, 32, 10), 0).state_dict(), r"0 of 262 tensors fit \(not found: .*259"),
        (
            lambda: models.build("torchvision:mnasnet0_75", images(3, 32, 10), 0).state_dict(),
            r"of another network: \d+ of 262 tensors fit \(layers.\d+.weight has shape .* for .*more",
        ),
        (lambda: dict(list(weights(10).items())[:200]), r"of 262 tensors fit \(not found: "),
        (
            lambda: weights(10) | {f"more.{name}": value for name, value in weights(10).items()},
            r"262 of 262 tensors fit \(not used: more.layers.0.weight",
        ),
    ],
    ids=["another", "another width", "half of it", "a larger one"],
)
def test_weights_of_another_network_are_refused(given, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(TuneQatError, match=message):
        fitted(given())


def test_what_is_assembled_can_be_loaded_again(tmp_path: Path) -> None:
    # MNASNet looks for the version of what it loads, which is beside the tensors of a state dict.
    wanted = images(1, 28, 10)
    save_checkpoint({"model": fitted(weights(1000), channels=1, side=28)[0].state_dict()}, tmp_path / "start.pt")
    again = models.build(NET, wanted, 5)
    start_from(again, tmp_path / "start.pt", NET)
    name = "layers.8.0.layers.0.weight"
    assert torch.equal(again.get_parameter(f"network.{name}"), weights(1000)[name])
