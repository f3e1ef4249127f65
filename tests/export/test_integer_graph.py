"""Passes over graphs: the same numbers before and after, in onnxruntime without optimizations of its own."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir
import onnx_ir.passes.common
import onnxruntime
import pytest
from onnx import helper, numpy_helper

from tune_qat.export.integer_graph import fold_norms, hoist, integer_biases
from tune_qat.export.pairs import Pair, insert, places
from tune_qat.export.runtime import kernels

CHANNELS = 4


def graph_of(*behind: onnx.NodeProto, constants: dict[str, Any] | None = None) -> Any:
    """Convolution of quantized images by quantized weights, and what comes `behind` its output `sums`."""
    rng = np.random.default_rng(0)
    values = {
        "x_scale": np.float32(0.02),
        "x_zero": np.uint8(128),
        "conv.codes": rng.integers(-127, 128, (CHANNELS, 2, 3, 3)).astype(np.int8),
        "w_scale": rng.uniform(0.001, 0.01, CHANNELS).astype(np.float32),
        "w_zero": np.zeros(CHANNELS, np.int8),
        "bias": rng.normal(size=CHANNELS).astype(np.float32),
        **(constants or {}),
    }
    node = helper.make_node
    nodes = [
        node("QuantizeLinear", ["images", "x_scale", "x_zero"], ["x_bytes"]),
        node("DequantizeLinear", ["x_bytes", "x_scale", "x_zero"], ["x"]),
        node("DequantizeLinear", ["conv.codes", "w_scale", "w_zero"], ["w"], axis=0),
        node("Conv", ["x", "w", "bias"], ["sums"], pads=[1, 1, 1, 1]),
        *behind,
    ]
    images = helper.make_tensor_value_info("images", onnx.TensorProto.FLOAT, ["n", 2, 8, 8])
    outputs = helper.make_tensor_value_info("outputs", onnx.TensorProto.FLOAT, None)
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()]
    graph = helper.make_graph(nodes, "graph", [images], [outputs], stored)
    return onnx_ir.from_proto(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10))


def quantized(source: str, scale: float, zero: int, top: int) -> tuple[list[onnx.NodeProto], dict[str, Any]]:
    """A grid below 8 bits behind a tensor, and its constants."""
    node = helper.make_node
    nodes = [
        node("QuantizeLinear", [source, "y_scale", "y_zero"], ["y_bytes"]),
        node("Clip", ["y_bytes", "y_low", "y_top"], ["y_codes"]),
        node("DequantizeLinear", ["y_codes", "y_scale", "y_zero"], ["outputs"]),
    ]
    constants = {
        "y_scale": np.float32(scale),
        "y_zero": np.uint8(zero),
        "y_low": np.uint8(0),
        "y_top": np.uint8(top),
    }
    return nodes, constants


def run(model: Any) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    content = onnx_ir.to_proto(model).SerializeToString()
    images = np.random.default_rng(1).normal(size=(3, 2, 8, 8)).astype(np.float32)
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    found: np.ndarray = session.run(None, {"images": images})[0]
    return found


def kinds(model: Any) -> list[str]:
    return [node.op_type for node in model.graph if node.op_type not in ("DequantizeLinear",)]


@pytest.mark.parametrize("zero", [0, 8])
def test_a_quantizer_goes_up_past_limits_and_pooling_and_keeps_every_number(zero: int) -> None:
    tail, constants = quantized("flat", 0.05, zero, 15)
    behind = [
        helper.make_node("Clip", ["sums", "none", "six"], ["limited"]),
        helper.make_node("MaxPool", ["limited"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        helper.make_node("Relu", ["pooled"], ["positive"]),
        helper.make_node("Flatten", ["positive"], ["flat"]),
        *tail,
    ]
    constants |= {"none": np.float32(-0.5), "six": np.float32(0.4)}
    model = graph_of(*behind, constants=constants)
    before = run(model)
    hoist(model.graph)
    np.testing.assert_array_equal(run(model), before)
    # The product is followed by its QuantizeLinear, and one Clip on bytes has all limits.
    assert kinds(model) == ["QuantizeLinear", "Conv", "QuantizeLinear", "MaxPool", "Flatten", "Clip"]
    assert before.max() == np.float32(0.05) * (8 if zero == 0 else 7)  # 0.4, and what 15 leaves above byte 8


def test_a_quantizer_of_a_tensor_that_others_read_stays_where_it_is() -> None:
    tail, constants = quantized("positive", 0.05, 0, 15)
    tail[-1].output[0] = "y"
    both = helper.make_node("Add", ["y", "positive"], ["outputs"])
    model = graph_of(helper.make_node("Relu", ["sums"], ["positive"]), *tail, both, constants=constants)
    before = run(model)
    hoist(model.graph)
    assert kinds(model) == ["QuantizeLinear", "Conv", "Relu", "QuantizeLinear", "Clip", "Add"]
    np.testing.assert_array_equal(run(model), before)


def test_batch_norm_of_either_sign_is_folded_and_the_codes_stay() -> None:
    rng = np.random.default_rng(2)
    constants = {
        "gamma": np.array([1.5, -0.7, 0.0, 1e-9], np.float32),
        "beta": rng.normal(size=CHANNELS).astype(np.float32),
        "mean": rng.normal(size=CHANNELS).astype(np.float32),
        "variance": rng.uniform(0.5, 2, CHANNELS).astype(np.float32),
    }
    norm = helper.make_node("BatchNormalization", ["sums", *constants], ["outputs"], epsilon=1e-5)
    model = graph_of(norm, constants=constants)
    codes = model.graph.initializers["conv.codes"].const_value.numpy()
    before = run(model)
    fold_norms(model.graph)
    assert "BatchNormalization" not in kinds(model)
    folded = model.graph.initializers["conv.codes.folded"].const_value.numpy()
    np.testing.assert_array_equal(folded, codes * np.array([1, -1, 1, 1], np.int8).reshape(-1, 1, 1, 1))
    np.testing.assert_allclose(run(model), before, rtol=0, atol=2e-6)  # a few roundings of float32
    # A bias of 1 in units of 1e-14 would not fit into int32.
    integer_biases(model.graph)
    unit = float(np.float32(0.02) * 0.01 * 1.5)  # largest unit of a bias that is rounded to it
    np.testing.assert_allclose(run(model), before, rtol=0, atol=unit / 2 + 2e-6)


def test_a_pair_stands_where_a_product_has_no_quantizer_and_its_grid_is_that_of_the_pair() -> None:
    model = graph_of(
        helper.make_node("Relu", ["sums"], ["positive"]), helper.make_node("Tanh", ["positive"], ["outputs"])
    )
    before = run(model)
    assert list(places(model.graph)) == ["conv"]
    insert(model.graph, [Pair(name="conv", scale=0.05, zero=0)])
    assert kinds(model) == ["QuantizeLinear", "Conv", "QuantizeLinear", "Tanh"]
    assert not places(model.graph)
    found = run(model)
    np.testing.assert_allclose(found, before, rtol=0, atol=0.025 + 1e-6)  # tanh is nowhere steeper than 1
    assert 20 < len(np.unique(found)) <= 256


def test_a_sum_of_two_pairs_gets_one_of_its_own_and_becomes_an_integer_sum(tmp_path: Path) -> None:
    behind = [
        helper.make_node("Relu", ["sums"], ["positive"]),
        helper.make_node("Add", ["positive", "positive"], ["twice"]),
        helper.make_node("Relu", ["twice"], ["outputs"]),
    ]
    model = graph_of(*behind)
    before = run(model)
    assert list(places(model.graph)) == ["conv", "sum behind conv"]
    insert(model.graph, [Pair(name="conv", scale=0.05, zero=0), Pair(name="sum behind conv", scale=0.1, zero=0)])
    integer_biases(model.graph)
    assert kinds(model) == ["QuantizeLinear", "Conv", "QuantizeLinear", "Add", "QuantizeLinear"]
    np.testing.assert_allclose(run(model), before, rtol=0, atol=0.05 + 0.001)  # twice 0.025, and the bias
    ran = kernels(onnx_ir.to_proto(model).SerializeToString(), tmp_path / "optimized.onnx")
    assert {"QLinearConv", "QLinearAdd"} <= set(ran) and not {"Conv", "Add", "Relu"} & set(ran)


def test_the_output_of_the_graph_keeps_its_name_behind_a_pair() -> None:
    model = graph_of(helper.make_node("Identity", ["sums"], ["outputs"]))
    onnx_ir.passes.common.IdentityEliminationPass()(model)
    insert(model.graph, [Pair(name="conv", scale=0.02, zero=100)])
    assert [value.name for value in model.graph.outputs] == ["outputs"]
    assert kinds(model)[-1] == "QuantizeLinear"
    found = run(model)
    np.testing.assert_allclose(found, np.rint(found / 0.02) * 0.02, rtol=0, atol=1e-5)
