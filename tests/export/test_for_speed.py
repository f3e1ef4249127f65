"""Exports for speed: what onnxruntime makes of them, beside the trained model, and what is refused."""

import json
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from torch import nn

from tests.export.nets import CASES, images, trained
from tests.helpers.trials import tiny_trial
from tune_qat import quantizers
from tune_qat.config import FLOAT_BITS, TuneQatError, UsageError
from tune_qat.export import agreement
from tune_qat.export.agreement import Agreement, check_task
from tune_qat.export.command import Wish, check_output, export_saved
from tune_qat.export.runtime import Session, kernels
from tune_qat.export.runtime_layers import RuntimeLayer, check_layers
from tune_qat.export.speed_file import integer_model
from tune_qat.export.trained import Trained
from tune_qat.quantization.model import calibrate, quantize, quantized_layers
from tune_qat.training.alone import train
from tune_qat.training.checkpoints import load_checkpoint, save_checkpoint

CLAIMED = ("lsq", "lsq_plus-unsigned_symmetric", "lsq_plus-signed_symmetric")
"""Cases whose weights and inputs are codes times one scale, at every width that the methods have."""
MOVED = 0.1
"""Largest deviation of outputs, of those of the trained model: with layers of 2 bits, where a bias that is rounded to
the unit of the sums gives a value near the middle of two codes the other one. Measured: 0.05."""
SAME = 1e-3
"""The same between onnxruntime with and without its optimizations: one code in 200 images."""


def unoptimized(content: bytes, inputs: torch.Tensor) -> torch.Tensor:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return torch.from_numpy(np.asarray(session.run(None, {"images": inputs.numpy()})[0]))


@torch.no_grad()
def predicted(model: Trained, inputs: torch.Tensor) -> torch.Tensor:
    found: torch.Tensor = model.model(inputs)
    return found


def deviation(found: torch.Tensor, wanted: torch.Tensor) -> float:
    return float((found - wanted).norm() / wanted.norm())


@pytest.mark.slow
@pytest.mark.parametrize("case", CLAIMED)
def test_round_trip(case: str, tmp_path: Path) -> None:
    model = trained(case)
    exported = integer_model(model, [images(64)[0]])
    content = exported.content()
    onnx.checker.check_model(onnx.load_from_string(content), full_check=True)
    session = Session(content)
    for batch in (1, 17):
        inputs = images(batch, seed=3)[0]
        wanted, found = predicted(model, inputs), session(inputs)
        assert deviation(found, wanted) < MOVED
        assert deviation(unoptimized(content, inputs), found) < SAME
    inputs = images(200, seed=4)[0]
    assert (session(inputs).argmax(1) == predicted(model, inputs).argmax(1)).float().mean() >= 0.97
    # Every product of integers is an integer kernel, and nothing is left of batch norm and ReLU.
    ran = kernels(content, tmp_path / "optimized.onnx")
    layers = quantized_layers(model.model)
    assert sum(name in ("QLinearConv", "QGemm") for name in ran) == len(layers)
    assert not {"Conv", "Gemm", "FusedConv", "BatchNormalization", "Relu"} & set(ran)
    # Weights are bytes at every width.
    kinds = {one.data_type for one in onnx.load_from_string(content).graph.initializer if ".codes" in one.name}
    assert kinds <= {onnx.TensorProto.INT8, onnx.TensorProto.UINT8}


def tiny(method: str, other: str | None, options: Mapping[str, Any], *, widest: bool) -> Trained:
    """Three layers as they start, at the widest or the narrowest weights of a method."""
    bits = quantizers.get_spec(method).weights.bits
    inputs = quantizers.get_spec(other or method).activations
    scheme = quantizers.scheme_of(
        quantizer=method,
        activation_quantizer=other,
        weight_bits=bits[-1] if widest else bits[0],
        activation_bits=inputs.bits[-1] if inputs else FLOAT_BITS,
        options=options,
    )
    torch.manual_seed(0)
    layers = nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 5 * 7, 5)
    batch = images(16)[0]
    model = quantize(nn.Sequential(*layers), scheme, batch[:1])
    calibrate(model, batch)
    return replace(trained("lsq"), model=model.eval())


@pytest.mark.parametrize("case", [case for case in CASES if case not in CLAIMED])
def test_other_methods_are_refused_with_the_reason(case: str) -> None:
    with pytest.raises(UsageError, match=r"no export --for speed: .*(offset|planes|uniform|quantized).*`--for exact`"):
        check_layers(tiny(*CASES[case], widest=True).model)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "other"), [("dorefa", None), ("pact", None), ("twn", "lsq")])
def test_narrow_weights_of_further_methods(method: str, other: str | None, tmp_path: Path) -> None:
    """Signs and ternary codes have one scale and no offset, though the wider weights of a method may have."""
    model = tiny(method, other, {}, widest=False)
    exported = integer_model(model, [images(32)[0]])
    inputs = images(17, seed=3)[0]
    assert deviation(Session(exported.content())(inputs), predicted(model, inputs)) < MOVED
    assert "QLinearConv" in kernels(exported.content(), tmp_path / "optimized.onnx")


def test_a_product_that_could_saturate_has_unsigned_weights() -> None:
    layers = {layer.name: layer for layer in quantized_layers(trained("lsq").model)}
    for layer in layers.values():
        own = RuntimeLayer(layer)
        largest = int((own.codes.int() - own.weight_zero[0].int()).abs().max())
        top = layer.input_quantizer.qmax - layer.input_quantizer.qmin  # type: ignore[union-attr]
        trained_codes = layer.weight_quantizer(layer.filters)  # type: ignore[misc]
        most = int(trained_codes.code.abs().max())
        assert (own.codes.dtype == torch.uint8) == (2 * most * top > 2**15 - 1)
        assert own.codes.dtype == torch.uint8 or 2 * largest * top <= 2**15 - 1
        value = (own.codes.float() - own.weight_zero[0].float()).flatten(1) * own.weight_scale[:, None]
        torch.testing.assert_close(value, trained_codes.value.flatten(1), rtol=1e-6, atol=0)  # one rounding


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LeNet-5 after two epochs on a few digits, as `tune-qat train --save` writes it."""
    path = tmp_path_factory.mktemp("saved") / "model.pt"
    list(train(tiny_trial(), threads=1, save=path))
    return path


@pytest.mark.slow
def test_the_command_writes_what_it_measured(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fast, exact, plain = (tmp_path / f"{name}.onnx" for name in ("fast", "exact", "plain"))
    said = export_saved(saved, fast, Wish(purpose="speed"))
    about = json.loads(onnx.load(fast).metadata_props[0].value)
    share = about["agreement"]["top1_same"]
    assert share >= 0.99 and about["agreement"]["images"] > 50 and about["for"] == "speed"
    assert f"the same class as the trained model for {share:.2%} of" in said
    assert [pair["name"] for pair in about["pairs"]] == []  # each layer's output is what the next one quantizes
    export_saved(saved, exact, Wish())
    export_saved(saved, plain)
    assert exact.read_bytes() == plain.read_bytes() != fast.read_bytes()
    assert "for" not in json.loads(onnx.load(plain).metadata_props[0].value)
    # Too far from what was trained: nothing is written.
    monkeypatch.setattr(agreement, "SAME_LEAST", 1.01)
    with pytest.raises(TuneQatError, match=r"too far from the trained model: .*at least 101%.*`--for exact`"):
        export_saved(saved, tmp_path / "far.onnx", Wish(purpose="speed"))
    assert not (tmp_path / "far.onnx").exists()


def test_limits_of_agreement() -> None:
    assert Agreement(measure="top1_same", value=0.99, n=100).met
    assert not Agreement(measure="top1_same", value=0.9899, n=100).met
    assert Agreement(measure="psnr_difference", value=-0.05, n=5).met
    assert not Agreement(measure="psnr_difference", value=-0.0501, n=5).met
    assert not Agreement(measure="psnr_difference", value=float("nan"), n=5).met


@pytest.mark.parametrize(
    ("wish", "suffix", "said"),
    [
        ({"purpose": "fast"}, "onnx", "--for takes exact or speed, but got 'fast'"),
        ({"purpose": "speed"}, "pt", "--for speed is about ONNX files: -o must end in .onnx"),
        ({"benchmark": True}, "pt", "--benchmark is about ONNX files"),
    ],
)
def test_wishes_that_cannot_be(wish: dict[str, Any], suffix: str, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        check_output(Path(f"model.{suffix}"), Wish(**wish))


@pytest.mark.parametrize("wish", [Wish(purpose="speed"), Wish(benchmark=True)], ids=["speed", "benchmark"])
def test_a_runtime_that_is_not_installed_is_named_first(monkeypatch: pytest.MonkeyPatch, wish: Wish) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(TuneQatError, match=r"^--(for speed|benchmark) needs onnxruntime: pip install 'tune-qat\[speed"):
        check_output(Path("model.onnx"), wish)
    check_output(Path("model.onnx"))


def test_a_task_without_a_limit_is_refused() -> None:
    with pytest.raises(UsageError, match="not for segmentation. `--for exact` takes every task"):
        check_task("segmentation")


@pytest.mark.slow
def test_missing_data_is_one_message(saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TUNE_QAT_DATA", raising=False)
    state = load_checkpoint(saved)
    state["trial"] = json.dumps(json.loads(state["trial"]) | {"dataset": "mnist", "dataset_options": {}})
    save_checkpoint(state, tmp_path / "model.pt")
    with pytest.raises(
        UsageError, match=r"(?s)--for speed calibrates .* of 'mnist', which was not found: .*--data-dir"
    ):
        export_saved(tmp_path / "model.pt", tmp_path / "model.onnx", Wish(purpose="speed"))
