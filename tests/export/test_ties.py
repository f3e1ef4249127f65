"""Inputs in the very middle of two codes, at the ends of a grid and far outside: the codes of training, every one."""

from collections import OrderedDict
from pathlib import Path

import pytest
import torch
from torch import nn

from tests.export.test_onnx_file import exported, run
from tune_qat import quantizers
from tune_qat.config import FLOAT_BITS, Scheme, TrialConfig
from tune_qat.data.spec import SUPER_RESOLUTION, ModelInput
from tune_qat.export.trained import Trained
from tune_qat.quantization.model import calibrate, quantize, quantizers_of

ROWS, COLUMNS = 5, 117
INPUT = ModelInput(task=SUPER_RESOLUTION, channels=1, height=ROWS, width=COLUMNS, classes=None, scale=1)
STEP = 0.25
"""A power of two: middles of codes are floating-point numbers."""
PARAMETERS: dict[str, dict[str, float]] = {
    "lsq": {"step": STEP},
    "lsq_plus": {"step": STEP, "offset": -0.375},
    "pact": {"alpha": 7 * STEP},
    "dsq": {"lower": -3 * STEP, "upper": 4 * STEP},
    "qil": {"centre": 4 * STEP, "distance": 3 * STEP},
    "qnn": {},
    "dorefa": {},
    "xnor": {},
}


CASES = [*((name, 3) for name in list(PARAMETERS)[:-1]), ("qnn", 1), ("xnor", 1)]
"""Methods and bits."""


class Side(nn.Module):
    """Layers that see the same input, each with an output channel of its own."""

    def __init__(self, layers: list[nn.Module]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return torch.cat([layer(value) for layer in self.layers], 1)


@pytest.mark.slow
def test_codes_are_the_same_on_ties_and_ends(tmp_path: Path) -> None:
    """In one export: its start takes torch as long as a layer of each method does."""
    model = Side([_one_layer(method, bits) for method, bits in CASES])
    config = TrialConfig(
        model="one", dataset="none", scheme=_scheme("lsq", 3), optimizer="adam", learning_rate=1e-3, batch_size=1,
        epochs=1,
    )  # fmt: skip
    trained = Trained(trial_key="k", config=config, model_input=INPUT, normalisation=([0.0], [1.0]), model=model.eval())
    # Sixteenths of 1, which have all middles and ends, a few roundings beside them, zeros of both signs, and far away.
    grid = torch.arange(-96, 97) / 16 * STEP
    near = torch.cat([grid, *(torch.nextafter(grid, torch.tensor(end)) for end in (9.0, -9.0))])
    inputs = torch.cat([near, torch.tensor([0.0, -0.0, 1e-30, -1e-30, 1e6, -1e6])]).reshape(1, 1, ROWS, COLUMNS)
    with torch.no_grad():
        expected = model(inputs)
    found = run(exported(trained, tmp_path), inputs)
    for channel, (method, bits) in enumerate(CASES):
        assert len(expected[:, channel].unique()) == 2**bits, (method, bits)
        assert torch.equal(found[:, channel], expected[:, channel]), (method, bits)


def _scheme(method: str, bits: int) -> Scheme:
    return quantizers.scheme_of(
        quantizer=method, weight_bits=FLOAT_BITS, activation_bits=bits, layer_bits={"conv": (FLOAT_BITS, bits)}
    )


def _one_layer(method: str, bits: int) -> nn.Module:
    """A convolution that gives what it gets."""
    layer = nn.Conv2d(1, 1, 1, bias=False)
    nn.init.ones_(layer.weight)
    model = nn.Sequential(OrderedDict(conv=layer))
    batch = torch.linspace(0, 1, 16).reshape(1, 1, 4, 4)  # nothing below 0: LSQ's codes are unsigned
    quantize(model, _scheme(method, bits), batch)
    calibrate(model, batch)
    (quantizer,) = quantizers_of(model)
    for name, value in PARAMETERS[method].items():
        getattr(quantizer, name).data.fill_(value)
    return model
