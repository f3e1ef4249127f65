"""Rewriting of a traced graph into the form whose parts onnxruntime fuses: batch norm folded, ranges kept on integers.

A runtime makes one integer kernel of `DequantizeLinear, DequantizeLinear -> Conv -> QuantizeLinear` and of nothing
else: what stands between a product and the next quantizer has to go. Batch norm goes into the weight's scale and the
bias; ReLU, pooling and reshaping keep the order of values, and so they may as well work on the integers.
"""

from typing import Any

import numpy as np
import onnx_ir as ir

PRODUCTS = ("Conv", "Gemm")
LIMITS = ("Relu", "Clip")
MONOTONE = (*LIMITS, "MaxPool", "Reshape", "Flatten", "Transpose", "Squeeze", "Unsqueeze", "DepthToSpace")
"""Operators that commute with rounding, since they keep the order of values and make none."""
QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
BIAS_LIMIT = 2**30
"""Largest integer of a bias: half of what a sum holds."""
SMALLEST_SCALE = 1e-30


def array(value: Any) -> np.ndarray:
    """Return what a constant holds."""
    found: np.ndarray = value.const_value.numpy()
    return found


def is_constant(value: Any) -> bool:
    return value is not None and value.const_value is not None and value.producer() is None


def constant(graph: Any, name: str, values: np.ndarray) -> Any:
    """Add a constant to the graph under a name that is free, and return it."""
    free, number = name, 1
    while free in graph.initializers:
        free, number = f"{name}_{number}", number + 1
    tensor = ir.tensor(values, name=free)
    value = ir.Value(name=free, const_value=tensor, type=ir.TensorType(tensor.dtype), shape=ir.Shape(values.shape))
    graph.register_initializer(value)
    return value


def sole_user(value: Any) -> Any:
    """Return the one node that reads a value; None where several do, or the graph's caller does."""
    uses = list(value.uses())
    return uses[0].node if len(uses) == 1 and not value.is_graph_output() else None


def products(graph: Any) -> list[Any]:
    """Return the products of integers: nodes whose both operands come out of DequantizeLinear."""
    return [node for node in graph if node.op_type in PRODUCTS and all(_dequantized(one) for one in node.inputs[:2])]


def layer_of(product: Any) -> str:
    """Return the name of the layer that a product was traced from."""
    name: str = product.inputs[1].producer().inputs[0].name
    return name.partition(".codes")[0]


def fold_norms(graph: Any) -> None:
    """Merge each batch norm behind a product of integers into its bias and its weight's scale, an entry a channel.

    Codes stay those that were trained; of a channel with a negative factor they change their sign.
    """
    for norm in [node for node in graph if node.op_type == "BatchNormalization"]:
        product = norm.inputs[0].producer()
        if product is None or product not in products(graph) or sole_user(norm.inputs[0]) is not norm:
            continue
        gamma, beta, mean, variance = (array(one).astype(np.float64) for one in norm.inputs[1:5])
        factor = gamma / np.sqrt(variance + norm.attributes["epsilon"].as_float())
        _scale_outputs(graph, product, factor)
        bias = (array(product.inputs[2]) if _has_bias(product) else 0.0) - mean
        folded = (bias * factor + beta).astype(np.float32)
        product.resize_inputs(3)
        product.replace_input_with(2, constant(graph, f"{layer_of(product)}.folded_bias", folded))
        norm.outputs[0].replace_all_uses_with(product.outputs[0], replace_graph_outputs=True)
        graph.remove(norm, safe=True)


def _scale_outputs(graph: Any, product: Any, factor: np.ndarray) -> None:
    weight = product.inputs[1].producer()
    codes, scale, zero = (array(one) for one in weight.inputs)
    info = np.iinfo(codes.dtype)
    rows = (-1, *(1,) * (codes.ndim - 1))
    centred = (codes.astype(np.int32) - zero.astype(np.int32).reshape(rows)) * np.where(factor < 0, -1, 1).reshape(rows)
    turned = np.clip(centred + zero.astype(np.int32).reshape(rows), info.min, info.max).astype(codes.dtype)
    name = layer_of(product)
    weight.replace_input_with(0, constant(graph, f"{name}.codes.folded", turned))
    weight.replace_input_with(1, constant(graph, f"{name}.folded_scale", (scale * np.abs(factor)).astype(np.float32)))


def integer_biases(graph: Any) -> None:
    """Store each product's bias as int32 in units of the product of both scales, as its sum of integers is.

    Where that unit is so small that a bias would not fit (a channel that is next to constant), the weight's scale is
    made larger, and its codes are rounded.
    """
    for product in products(graph):
        if not _has_bias(product):
            continue
        inputs, weight = (one.producer() for one in product.inputs[:2])
        bias = array(product.inputs[2]).astype(np.float64)
        step = float(array(inputs.inputs[1]))
        scale = array(weight.inputs[1]).astype(np.float64)
        least = np.maximum(np.abs(bias) / (step * BIAS_LIMIT), SMALLEST_SCALE)
        if (scale < least).any():
            _coarsen(graph, product, scale, np.maximum(scale, least))
            scale = array(weight.inputs[1]).astype(np.float64)
        unit = (step * scale).astype(np.float32)
        integers = np.rint(bias / unit).astype(np.int32)
        name = layer_of(product)
        constants = [
            constant(graph, f"{name}.integer_bias", integers),
            constant(graph, f"{name}.bias_scale", unit),
            constant(graph, f"{name}.bias_zero", np.zeros_like(integers)),
        ]
        node = _node(DEQUANTIZE, constants, axis=0)
        graph.insert_before(product, node)
        product.replace_input_with(2, node.outputs[0])


def _coarsen(graph: Any, product: Any, scale: np.ndarray, larger: np.ndarray) -> None:
    weight = product.inputs[1].producer()
    codes, _, zero = (array(one) for one in weight.inputs)
    rows = (-1, *(1,) * (codes.ndim - 1))
    zero = zero.astype(np.float64).reshape(rows)
    rounded = np.rint((codes - zero) * (scale / larger).reshape(rows)) + zero
    name = layer_of(product)
    weight.replace_input_with(0, constant(graph, f"{name}.codes.rounded", rounded.astype(codes.dtype)))
    weight.replace_input_with(1, constant(graph, f"{name}.larger_scale", larger.astype(np.float32)))


def hoist(graph: Any) -> None:
    """Bring every QuantizeLinear up to the product whose output it quantizes, past what commutes with rounding."""
    for node in [node for node in graph if node.op_type == QUANTIZE]:
        while _raise(graph, node):
            pass
    graph.sort()


def _raise(graph: Any, quantize: Any) -> bool:
    """Move a QuantizeLinear ahead of the operator in front of it; tell whether that could be done."""
    before = quantize.inputs[0].producer()
    if before is None or before.op_type not in MONOTONE or sole_user(quantize.inputs[0]) is not quantize:
        return False
    if before.op_type == "Clip" and not all(one is None or is_constant(one) for one in before.inputs[1:]):
        return False
    quantize.replace_input_with(0, before.inputs[0])
    quantize.outputs[0].shape = None
    if before.op_type in LIMITS:
        _limit(graph, quantize, *_codes_of_limits(before, quantize))
    else:
        moved = _node(before.op_type, [None, *before.inputs[1:]], **before.attributes)
        quantize.outputs[0].replace_all_uses_with(moved.outputs[0])
        moved.replace_input_with(0, quantize.outputs[0])
        graph.insert_after(quantize, moved)
    graph.remove(before, safe=True)
    return True


def _codes_of_limits(before: Any, quantize: Any) -> tuple[int, int]:
    """Return the smallest and the largest byte that a ReLU or Clip in front of a QuantizeLinear lets through."""
    scale, zero = float(array(quantize.inputs[1])), int(array(quantize.inputs[2]))
    if before.op_type == "Relu":
        return zero, 255
    ends = [*before.inputs[1:], None, None][:2]
    low, high = (
        default if end is None else int(np.clip(np.rint(float(array(end)) / scale) + zero, 0, 255))
        for end, default in zip(ends, (0, 255), strict=True)
    )
    return low, high


def _limit(graph: Any, quantize: Any, low: int, high: int) -> None:
    """Limit the bytes that reach the DequantizeLinear behind a QuantizeLinear, in the Clip that is there or a new one.

    It stands last, where pooling has left the fewest of them; none is needed where the type itself has these limits.
    """
    before, (value, clip) = limits(quantize), _way_down(quantize)
    low, high = max(low, before[0]), min(high, before[1])
    if clip is None and (low, high) != (0, 255):
        clip = _node("Clip", [None, None, None])
        value.replace_all_uses_with(clip.outputs[0])
        clip.replace_input_with(0, value)
        graph.insert_after(value.producer(), clip)
    if clip is not None:
        for index, end in enumerate((low, high), 1):
            clip.replace_input_with(index, constant(graph, "limit", np.array(end, dtype=np.uint8)))


def limits(quantize: Any) -> tuple[int, int]:
    """Return the smallest and the largest byte that gets from a QuantizeLinear to its DequantizeLinear."""
    _, clip = _way_down(quantize)
    return (0, 255) if clip is None else (int(array(clip.inputs[1])), int(array(clip.inputs[2])))


def _way_down(quantize: Any) -> tuple[Any, Any | None]:
    """Return the bytes that a DequantizeLinear behind a QuantizeLinear reads, and the Clip on the way to it."""
    value, clip = quantize.outputs[0], None
    while (user := sole_user(value)) is not None and user.op_type != DEQUANTIZE:
        clip = user if user.op_type == "Clip" else clip
        value = user.outputs[0]
    return value, clip


def _has_bias(product: Any) -> bool:
    """Tell whether a product has a constant bias: one of zeros has been left out of the graph."""
    return len(product.inputs) > 2 and is_constant(product.inputs[2])


def _dequantized(value: Any) -> bool:
    return value is not None and value.producer() is not None and value.producer().op_type == DEQUANTIZE


def _node(name: str, inputs: list[Any], **attributes: Any) -> Any:
    return ir.node(name, inputs, attributes)
