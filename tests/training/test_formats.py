"""Steps in bfloat16 where nothing is quantized, and images with their channels last."""

from pathlib import Path

import pytest
import torch
from torch import nn

from tests.helpers.trials import (
    FLOAT,
    assert_same_curve,
    assert_same_state,
    results_of,
    resumed_every_epoch,
    tiny_trial,
    training_of,
)
from tune_qat import Scheme, optimizers, quantizers
from tune_qat.config import UsageError
from tune_qat.quantization.model import quantized_layers
from tune_qat.training import formats
from tune_qat.training.formats import InBfloat16, check_format

BFLOAT16 = {"autocast": "bfloat16"}
here = pytest.mark.skipif(not formats.has_bfloat16(torch.device("cpu")), reason="this processor has no bfloat16")


class _Seen(nn.Module):
    """A float layer, a norm and a layer behind it, watched as models are."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 3)
        self.formats: dict[str, torch.dtype] = {}
        for name in ("first", "norm", "last"):
            getattr(self, name).register_forward_hook(
                lambda module, inputs, output, name=name: self.formats.update({name: output.dtype})
            )

    def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, None]:
        return self.last(self.norm(self.first(inputs))), None


@here
def test_products_are_in_bfloat16_and_norms_are_not() -> None:
    seen = _Seen()
    output, _ = InBfloat16(seen)(torch.randn(2, 1, 8, 8))
    assert seen.formats == {"first": torch.bfloat16, "norm": torch.float32, "last": torch.bfloat16}
    assert output.dtype == torch.float32
    output.sum().backward()
    assert seen.first.weight.grad is not None and seen.first.weight.grad.dtype == torch.float32


@here
def test_quantized_layers_compute_the_same() -> None:
    # Every layer of this model is quantized, so there is nothing that bfloat16 could round.
    assert_same_curve(results_of(tiny_trial()), results_of(tiny_trial(**BFLOAT16)))


@here
def test_floating_point_is_rounded_and_parameters_are_not() -> None:
    training = training_of(tiny_trial(scheme=FLOAT, **BFLOAT16))
    (plain, *_), (rounded, *_) = results_of(tiny_trial(scheme=FLOAT)), list(training.epochs())
    assert plain.train_loss != rounded.train_loss
    assert rounded.train_loss == pytest.approx(plain.train_loss, rel=0.02)  # factors of 8 bits
    assert {one.dtype for one in training.model.parameters()} == {torch.float32}


@here
def test_bfloat16_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    config = tiny_trial(scheme=FLOAT, **BFLOAT16)
    results, _ = resumed_every_epoch(config, tmp_path)
    assert_same_curve(results, results_of(config))


def test_a_device_without_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(formats, "has_bfloat16", lambda device: False)
    check_format("off", torch.device("cpu"))
    with pytest.raises(UsageError, match=r"needs a device that multiplies in it, and cpu"):
        training_of(tiny_trial(**BFLOAT16))


@pytest.mark.parametrize("name", optimizers.OPTIMIZERS)
def test_every_optimizer_with_channels_last(name: str) -> None:
    config = {"optimizer": name, "learning_rate": optimizers.get_spec(name).default_learning_rate / 10, "epochs": 1}
    (plain,), (other,) = results_of(tiny_trial(**config)), results_of(tiny_trial(**config, channels_last=True))
    # The same sums in another order, over six steps.
    assert other.train_loss == pytest.approx(plain.train_loss, rel=1e-3)


@pytest.mark.parametrize("name", [name for name, spec in quantizers.QUANTIZERS.items() if spec.weights is not None])
def test_every_quantizer_with_channels_last(name: str) -> None:
    weights = quantizers.get_spec(name).weights
    assert weights is not None
    ends = quantizers.get_spec(name).first_last_bits
    scheme = Scheme(quantizer=name, activation_quantizer="lsq", weight_bits=max(weights.bits), first_last_bits=ends)
    (other,), (plain,) = (results_of(tiny_trial(scheme=scheme, epochs=1, channels_last=last)) for last in (True, False))
    assert other.train_loss == pytest.approx(plain.train_loss, rel=1e-2)


def test_channels_last_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    config = tiny_trial(channels_last=True)
    results, training = resumed_every_epoch(config, tmp_path)
    whole = training_of(config)
    assert_same_curve(results, list(whole.epochs()))
    assert_same_state(training.model, whole.model)
    weights = [layer.layer.weight for layer in quantized_layers(whole.model) if layer.layer.weight.dim() == 4]
    assert all(weight.is_contiguous(memory_format=torch.channels_last) for weight in weights)
