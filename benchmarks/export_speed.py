"""Speed of models exported for speed, beside floating point and onnxruntime's own static quantization.

python -m benchmarks.export_speed [--rounds N] [--nets NAME ...] [--save]

Networks as they start, calibrated on random images: what training changes is the values, not what is computed. All
files of a network take turns in onnxruntime, on one thread.
"""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

from benchmarks.measure import Bar, Report, Spread, parser, spread, table
from tune_qat import models, quantizers
from tune_qat.config import TrialConfig
from tune_qat.data.spec import CLASSIFICATION, SUPER_RESOLUTION, ModelInput
from tune_qat.export.onnx_file import INPUT, exact_content
from tune_qat.export.runtime import Session, Timing, kernels, timed
from tune_qat.export.speed_file import integer_model
from tune_qat.export.trained import Trained
from tune_qat.quantization.model import calibrate, quantize

NETS: Mapping[str, tuple[int, int, int]] = {
    "espcn": (1, 96, 0),
    "lenet5": (1, 28, 10),
    "resnet20_cifar": (3, 32, 10),
    "resnet18": (3, 96, 100),
    "mobilenet_v2": (3, 96, 100),
}
"""Channels, height and width, and classes; 0 is super-resolution by 3."""
BITS = (8, 4)
BATCHES = (1, 32)
TURN_S = 0.3
BAR = Bar(figure="ESPCN, times as fast as floating point, the slowest case", limit=1.5, at_least=True)
FLOAT, EXACT, SPEED, OWN = "float", "exact", "speed", "own static"
INTEGER = ("QLinearConv", "QGemm", "QLinearMatMul", "MatMulIntegerToFloat")
FLOATING = ("Conv", "FusedConv", "Gemm", "FusedGemm", "MatMul", "FusedMatMul")


def main() -> None:
    """A line a network, bit width and batch."""
    options = parser(__doc__)
    options.add_argument("--nets", nargs="+", default=list(NETS), choices=list(NETS))
    chosen = options.parse_args()
    report = Report("export", "Speed of exported models", rounds=chosen.rounds, save=chosen.save)
    rows, slowest, fused = [], float("inf"), []
    for net in chosen.nets:
        for bits in BITS:
            files = _files(net, bits)
            fused.append([net, f"{bits}/{bits}", *(_products(files[name]) for name in (SPEED, OWN))])
            for batch, timing in _timings(net, files, chosen.rounds):
                report.check(timing.seconds[FLOAT])
                rows.append(_row(net, bits, batch, timing))
                ratio = timing.times_faster(SPEED, FLOAT)
                slowest = min(slowest, ratio) if net == "espcn" else slowest
    head = ["network", "pixels", "bits", "batch", "float ms", "speed ms", "speed", "exact", "own static"]
    report.add("Times as fast as floating point, median (smallest .. largest) of the rounds:")
    report.add(table(head, rows))
    report.add("Products on integers and in floating point, by onnxruntime's own optimized graph:")
    report.add(table(["network", "bits", "for speed", "own static"], fused))
    if "espcn" in chosen.nets:
        report.bars((BAR, slowest))
    report.close()


def _files(net: str, bits: int) -> dict[str, bytes]:
    trained, images = _calibrated(net, bits)
    fast = integer_model(trained, [images])
    return {
        FLOAT: fast.floating,
        EXACT: exact_content(trained),
        SPEED: fast.content(),
        OWN: _own_static(fast.floating, images),
    }


def _calibrated(net: str, bits: int) -> tuple[Trained, torch.Tensor]:
    channels, side, classes = NETS[net]
    if classes:
        task = ModelInput(task=CLASSIFICATION, channels=channels, height=side, width=side, classes=classes, scale=None)
    else:
        task = ModelInput(task=SUPER_RESOLUTION, channels=channels, height=None, width=None, classes=None, scale=3)
    images = torch.rand(8, channels, side, side, generator=torch.Generator().manual_seed(0))
    scheme = quantizers.scheme_of(quantizer="lsq", weight_bits=bits, activation_bits=bits)
    built = models.build(net, task, 0)
    with torch.no_grad():
        for _ in range(20):  # until the statistics of batch norm are those of the images
            built.train()(images)
    model = quantize(built, scheme, images[:1])
    calibrate(model, images)
    config = TrialConfig(
        model=net, dataset="none", scheme=scheme, optimizer="adam", learning_rate=1e-3, batch_size=1, epochs=1
    )
    levels = ([0.0] * channels, [255.0] * channels)
    trained = Trained(trial_key="none", config=config, model_input=task, normalisation=levels, model=model.eval())
    return trained, images


class _Reader(CalibrationDataReader):
    def __init__(self, images: torch.Tensor) -> None:
        self._left: Iterator[dict[str, np.ndarray]] = iter([{INPUT: one[None].numpy()} for one in images])

    def get_next(self) -> Any:
        return next(self._left, None)


def _own_static(floating: bytes, images: torch.Tensor) -> bytes:
    """Return what onnxruntime's tool makes of a model, prepared as its documentation says."""
    with tempfile.TemporaryDirectory() as folder:
        before, prepared, after = (Path(folder) / f"{name}.onnx" for name in ("before", "prepared", "after"))
        before.write_bytes(floating)
        quant_pre_process(str(before), str(prepared), skip_symbolic_shape=True)
        quantize_static(
            str(prepared),
            str(after),
            _Reader(images),
            quant_format=QuantFormat.QDQ,
            activation_type=QuantType.QUInt8,
            weight_type=QuantType.QInt8,
            per_channel=True,
        )
        return after.read_bytes()


def _timings(net: str, files: Mapping[str, bytes], rounds: int) -> Iterator[tuple[int, Timing]]:
    sessions = {name: Session(content) for name, content in files.items()}
    channels, side, _ = NETS[net]
    for batch in BATCHES:
        inputs = torch.rand(batch, channels, side, side, generator=torch.Generator().manual_seed(1))
        yield batch, timed(sessions, inputs, rounds=rounds, least_s=TURN_S)


def _row(net: str, bits: int, batch: int, timing: Timing) -> list[object]:
    times = [f"{timing.milliseconds(name):.3g}" for name in (FLOAT, SPEED)]
    ratios = [_ratio(timing, name) for name in (SPEED, EXACT, OWN)]
    return [net, NETS[net][1], f"{bits}/{bits}", batch, *times, *ratios]


def _ratio(timing: Timing, name: str) -> Spread:
    pairs = zip(timing.seconds[name], timing.seconds[FLOAT], strict=True)
    return spread([other / own for own, other in pairs])


def _products(content: bytes) -> str:
    with tempfile.TemporaryDirectory() as folder:
        ran = kernels(content, Path(folder) / "optimized.onnx")
    counts = [sum(name in kinds for name in ran) for kinds in (INTEGER, FLOATING)]
    return f"{counts[0]} and {counts[1]}"


if __name__ == "__main__":
    main()
