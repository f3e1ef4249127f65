"""Sizes of exported models: `python -m benchmarks.export_sizes`.

Networks as they start, calibrated on random images: what training changes is the values, not how many there are.
"""

import tempfile
from pathlib import Path

import torch

from tune_qat import models, quantizers
from tune_qat.config import Scheme, TrialConfig
from tune_qat.data.spec import CLASSIFICATION, ModelInput
from tune_qat.export.onnx_file import save_onnx
from tune_qat.export.state_file import save_state
from tune_qat.export.summary import float_values
from tune_qat.export.trained import Trained
from tune_qat.quantization.model import calibrate, quantize

INPUTS = {
    "lenet5": ModelInput(task=CLASSIFICATION, channels=1, height=28, width=28, classes=10, scale=None),
    "resnet18": ModelInput(task=CLASSIFICATION, channels=3, height=224, width=224, classes=1000, scale=None),
}
METHODS = (("lsq", 8, 8), ("lsq", 4, 4), ("lsq", 2, 2), ("dsq", 4, 4), ("xnor", 1, 1), ("ttq", 2, 32))


def main() -> None:
    """A line a model and scheme."""
    schemes = [Scheme.floating_point()]
    schemes += [quantizers.scheme_of(quantizer=name, weight_bits=w, activation_bits=a) for name, w, a in METHODS]
    print("model      quantizer  bits      values x 4       .onnx         .pt   bytes")
    for name in INPUTS:
        for scheme in schemes:
            print(_line(name, scheme), flush=True)


def _line(name: str, scheme: Scheme) -> str:
    trained = _calibrated(name, scheme)
    with tempfile.TemporaryDirectory() as folder:
        onnx, state = Path(folder) / "model.onnx", Path(folder) / "state.pt"
        save_onnx(trained, onnx)
        save_state(trained, state)
        sizes = f"{4 * float_values(trained):12,} {onnx.stat().st_size:12,} {state.stat().st_size:12,}"
    return f"{name:10} {scheme.quantizer:10} {scheme.label:6} {sizes}"


def _calibrated(name: str, scheme: Scheme) -> Trained:
    images = torch.rand(4, *_shape(INPUTS[name]), generator=torch.Generator().manual_seed(0))
    model = quantize(models.build(name, INPUTS[name], 0), scheme, images[:1])
    calibrate(model, images)
    config = TrialConfig(
        model=name, dataset="none", scheme=scheme, optimizer="adam", learning_rate=1e-3, batch_size=1, epochs=1
    )
    channels = INPUTS[name].channels
    levels = ([0.0] * channels, [255.0] * channels)
    return Trained(trial_key="none", config=config, model_input=INPUTS[name], normalisation=levels, model=model.eval())


def _shape(model_input: ModelInput) -> tuple[int, int, int]:
    assert model_input.height and model_input.width
    return model_input.channels, model_input.height, model_input.width


if __name__ == "__main__":
    main()
