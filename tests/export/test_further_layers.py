"""Exports of signals, volumes, transposed convolutions and attention: the same outputs as those of the model."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from tests.export.nets import ROUNDING, steady
from tests.export.test_onnx_file import exported, run
from tests.export.test_state_file import rebuilt
from tune_qat import quantizers
from tune_qat.config import Scheme, TrialConfig
from tune_qat.data.spec import CLASSIFICATION, ModelInput
from tune_qat.export.state_file import save_state
from tune_qat.export.summary import described, float_values
from tune_qat.export.trained import Trained
from tune_qat.quantization.model import calibrate, products, quantize
from tune_qat.training.checkpoints import load_checkpoint

INPUT = ModelInput(task=CLASSIFICATION, channels=1, height=14, width=14, classes=5, scale=None)
METHODS = {
    "lsq": Scheme(options={"per_channel": True}),
    "lsq_plus": quantizers.scheme_of(quantizer="lsq_plus", weight_bits=4, activation_bits=4),
    "dsq": quantizers.scheme_of(quantizer="dsq", weight_bits=4, activation_bits=4, first_last_bits=8),
    "ttq": Scheme(quantizer="ttq", activation_quantizer="lsq", weight_bits=2, first_last_bits=2),
}
"""A scale per channel, an offset of inputs, offsets of both operands, and planes."""


class Several(nn.Module):
    """A transposed convolution in groups, one over a sequence and one over a volume."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(1, 4, 3, stride=2)
        self.up = nn.ConvTranspose2d(4, 6, (3, 2), stride=2, padding=1, output_padding=1, groups=2)
        self.line = nn.Conv1d(6, 8, 3, stride=2, padding=1, groups=2, bias=False)
        self.volume = nn.Conv3d(1, 2, (2, 1, 3), stride=(2, 1, 3), padding=(1, 0, 0))
        self.head = nn.Linear(2 * 5 * 2 * 11, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        signal = self.line(self.up(self.stem(images).relu()).relu().flatten(2))
        volume = self.volume(signal.unflatten(-1, (2, 33)).unsqueeze(1))
        return self.head(volume.relu().flatten(1))


def trained(model: nn.Module, scheme: Scheme) -> Trained:
    torch.manual_seed(0)
    model = quantize(model, scheme, torch.zeros(1, 1, 14, 14))
    calibrate(model, torch.randn(32, 1, 14, 14))
    config = TrialConfig(
        model="own", dataset="none", scheme=scheme, optimizer="adam", learning_rate=1e-3, batch_size=32, epochs=1
    )
    norms = ([0.0], [1.0])
    return Trained(trial_key="key", config=config, model_input=INPUT, normalisation=norms, model=model.eval())


def vision_transformer() -> nn.Module:
    return VisionTransformer(img_size=14, patch_size=7, in_chans=1, num_classes=5, embed_dim=12, depth=1, num_heads=2)


def made(build: Callable[[], nn.Module], method: str) -> Trained:
    torch.manual_seed(1)
    return trained(build(), replace(METHODS[method], attention=build is vision_transformer))


def images() -> torch.Tensor:
    return torch.randn(40, 1, 14, 14, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize("build", [Several, vision_transformer])
@pytest.mark.parametrize("method", METHODS)
def test_a_state_holds_all_of_the_model(method: str, build: Callable[[], nn.Module], tmp_path: Path) -> None:
    model = made(build, method)
    save_state(model, tmp_path / "state.pt")
    state = load_checkpoint(tmp_path / "state.pt")
    assert state["products"].keys() == {product.name for product in products(model.model)}
    with torch.no_grad():
        expected = model.model(images())
        assert torch.equal(rebuilt(model.model, state)(images()), expected)
    if build is Several:
        up = state["layers"]["up"]
        assert (up["type"], up["output_padding"], up["weight"]["shape"]) == ("ConvTranspose2d", (1, 1), [6, 2, 3, 2])
    assert "head" in described(model, tmp_path / "state.pt")
    plain = build()
    assert float_values(model) == sum(value.numel() for value in (*plain.parameters(), *plain.buffers()))


@pytest.mark.slow  # an export takes torch seconds
def test_onnxruntime_gives_the_same_of_every_layer(tmp_path: Path) -> None:
    model = made(Several, "dsq")  # of all methods that with most operations: offsets of both operands
    graph = exported(model, tmp_path)
    expected, same = steady(model.model, images())
    assert same.float().mean() > 0.3
    tolerance = 4 * ROUNDING * float(expected.abs().max())
    torch.testing.assert_close(run(graph, images())[same], expected[same], rtol=0, atol=tolerance)


@pytest.mark.slow
def test_onnxruntime_gives_the_same_of_attention(tmp_path: Path) -> None:
    model = made(vision_transformer, "lsq")
    graph = exported(model, tmp_path)
    with torch.no_grad():
        expected = model.model(images())
    off = (run(graph, images()) - expected).abs().amax(1) / expected.abs().max()
    # Softmax, GELU and norms of two libraries are a rounding apart, so that now and then a code is another one.
    assert (off < 1e-5).float().mean() > 0.7 and off.max() < 0.2
