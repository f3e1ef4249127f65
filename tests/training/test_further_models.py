"""Whole trials of models with signals, volumes, transposed convolutions and attention."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from timm.models.vision_transformer import VisionTransformer
from torch import nn

from tests.helpers.trials import (
    assert_same_curve,
    assert_same_state,
    results_of,
    resumed_every_epoch,
    tiny_trial,
    training_of,
    work_of,
)
from tune_qat import Scheme
from tune_qat.config import Dampening, Freezing, TrialConfig
from tune_qat.quantizers import scheme_of
from tune_qat.storage.paths import storage_path
from tune_qat.training.checkpoints import save_checkpoint
from tune_qat.training.workload import Workload

RECIPE: dict[str, Any] = {
    "freezing": Freezing(threshold_start=0.03, threshold_end=0.02),
    "dampening": Dampening(weight=1e-3),
}


class Several(nn.Module):
    """Layers beside the usual ones; of images (1, 28, 28) or any others."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.up = nn.Conv2d(1, 4, 3, stride=4), nn.ConvTranspose2d(4, 6, 3, stride=2, groups=2)
        self.volume, self.line = nn.Conv3d(1, 2, (3, 3, 3), stride=3), nn.Conv1d(2, 6, 5, stride=3)
        self.head = nn.Linear(6, 10)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        planes = self.up(self.stem(images).relu()).relu()
        signal = self.volume(planes.unsqueeze(1)).relu().flatten(2)
        return self.head(self.line(signal).relu().mean(-1))


class Encoder(nn.Module):
    """Rows of an image as tokens, in torch's own encoder."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.head = nn.Linear(28, 12), nn.Linear(12, 10)
        self.encoder = nn.TransformerEncoder(nn.TransformerEncoderLayer(12, 2, 16, batch_first=True), 1)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(self.stem(images.squeeze(1))).mean(1))


def vision_transformer() -> nn.Module:
    return VisionTransformer(img_size=28, patch_size=7, in_chans=1, num_classes=10, embed_dim=12, depth=1, num_heads=2)


class Own(Workload):
    """Digits with a model that is in no table."""

    build: Callable[[], nn.Module]

    def build_model(self, init_seed: int) -> nn.Module:
        with torch.random.fork_rng(devices=()):
            torch.manual_seed(init_seed)
            return type(self).build()


def own(config: TrialConfig, build: Callable[[], nn.Module]) -> Workload:
    kind = type("Own", (Own,), {"build": staticmethod(build)})
    found: Workload = kind(model=config.model, dataset=work_of(config).dataset)
    return found


CASES: dict[str, tuple[Callable[[], nn.Module], dict[str, Any]]] = {
    "layers": (Several, {**RECIPE, "scheme": Scheme(weight_bits=3, options={"per_channel": True})}),
    "layers, clipped by output": (Several, {"optimizer": "sgd_agc", "optimizer_options": {"clip_factor": 1e-3}}),
    "layers, Muon": (Several, {"optimizer": "muon", "learning_rate": 1e-3}),
    "layers, XNOR": (
        Several,
        {"scheme": scheme_of(quantizer="xnor", activation_quantizer="lsq", weight_bits=1, activation_bits=4)},
    ),
    "attention": (vision_transformer, {**RECIPE, "scheme": Scheme(weight_bits=3, attention=True)}),
    "torch's attention": (Encoder, {"scheme": Scheme(weight_bits=3, attention=True)}),
    "one layer left": (Encoder, {"scheme": Scheme(float_layers=("encoder.layers.0.self_attn.out_proj",))}),
}


@pytest.mark.parametrize("name", CASES)
def test_a_trial_learns_and_goes_on_bit_for_bit(name: str, tmp_path: Path) -> None:
    build, changes = CASES[name]
    config = tiny_trial(**changes)
    whole = results_of(config, work=own(config, build))
    parts, training = resumed_every_epoch(config, tmp_path, work=own(config, build))
    assert_same_curve(whole, parts)
    other = training_of(config, work=own(config, build))
    list(other.epochs())
    assert_same_state(other.model, training.model)
    assert len(whole) == 2 and whole[-1].status == "completed" and whole[-1].layers
    assert whole[0].train_loss != whole[1].train_loss


def test_a_start_in_floating_point_is_torchs_own_attention(tmp_path: Path) -> None:
    config = tiny_trial(scheme=Scheme.floating_point())
    start = training_of(config, work=own(config, Encoder))
    list(start.epochs())
    save_checkpoint(start.state_dict(), tmp_path / "start.pt")
    assert "encoder.layers.0.self_attn.in_proj_weight" in start.state_dict()["model"]
    quantized = tiny_trial(scheme=Scheme(weight_bits=8, activation_bits=32))
    begun = training_of(quantized, work=own(quantized, Encoder), init=storage_path(tmp_path / "start.pt"))
    (before, after) = (training.evaluate("val").loss for training in (start, begun))
    assert after == pytest.approx(before, rel=0.02)  # 8 bits of weights, at the start
