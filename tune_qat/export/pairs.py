"""Pairs of quantize and dequantize where training has none: behind products whose output stays in floating point there.

Without one, onnxruntime leaves the product in floating point. Each is calibrated on training data: of the ranges up
to all of what a tensor held, the one with the smallest squared error of what is computed from it.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from tune_qat.export.integer_graph import (
    DEQUANTIZE,
    MONOTONE,
    QUANTIZE,
    array,
    constant,
    hoist,
    layer_of,
    limits,
    products,
    sole_user,
)

LEVELS = 255
FRACTIONS = np.linspace(0.3, 1.0, 36)
"""Ranges that are tried, of the whole one."""
KEPT = 20_000
"""Most values of a tensor and batch that a range is chosen by."""
FUNCTIONS: Mapping[str, Callable[[np.ndarray], np.ndarray]] = {
    "Tanh": np.tanh,
    "Sigmoid": lambda value: 1 / (1 + np.exp(-value)),
}
"""Functions behind which large values are all the same, so that no range has to reach them."""


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Grid of 8 bits at a tensor: `value = (byte - zero) * scale`."""

    name: str
    """Layer whose output it is, or `sum behind LAYER`."""
    scale: float
    zero: int


def places(graph: Any) -> dict[str, Any]:
    """Return the tensors that want a pair, by the name that it gets, in the order of the graph.

    These are outputs of convolutions, behind what can as well be done on integers, and sums of two of them.
    """
    found: dict[str, Any] = {}
    convolutions = {id(node): node for node in products(graph) if node.op_type == "Conv"}
    ends: dict[int, str] = {}
    for node in graph:
        if id(node) in convolutions:
            name = layer_of(node)
        elif node.op_type == "Add" and all(id(one) in ends for one in node.inputs):
            name = f"sum behind {ends[id(node.inputs[0])].removeprefix('sum behind ')}"
        else:
            continue
        value = _end(node.outputs[0])
        name = _free(name, ends.values())
        ends[id(value)] = name
        user = sole_user(value)
        if user is None or user.op_type != QUANTIZE:
            found[name] = value
    return found


def insert(graph: Any, pairs: Sequence[Pair]) -> None:
    """Put the pairs at their places, and bring each QuantizeLinear up to its product."""
    at = places(graph)
    for pair in pairs:
        value = at[pair.name]
        scale = constant(graph, f"{pair.name}.output_scale", np.array(pair.scale, dtype=np.float32))
        zero = constant(graph, f"{pair.name}.output_zero", np.array(pair.zero, dtype=np.uint8))
        quantize = ir.node(QUANTIZE, [value, scale, zero])
        dequantize = ir.node(DEQUANTIZE, [quantize.outputs[0], scale, zero])
        out = dequantize.outputs[0]
        out.type, out.shape = value.type, value.shape
        is_output, name = value.is_graph_output(), value.name
        value.replace_all_uses_with(out, replace_graph_outputs=True)
        quantize.replace_input_with(0, value)
        graph.insert_after(value.producer(), [quantize, dequantize])
        if is_output:
            value.name = f"{name}_before"
            out.name = name
    hoist(graph)


def calibrated(graph: Any, run: Callable[[Sequence[str]], Iterator[Sequence[np.ndarray]]]) -> list[Pair]:
    """Choose a pair for each place of the graph.

    Args:
        graph: the graph without pairs.
        run: yields for each batch of training data the tensors of these names.
    """
    at = places(graph)
    if not at:
        return []
    seen: dict[str, list[np.ndarray]] = {name: [] for name in at}
    for batch in run([value.name for value in at.values()]):
        for name, values in zip(at, batch, strict=True):
            seen[name].append(values.ravel()[:: max(1, values.size // KEPT)])
    return [_pair(name, np.concatenate(seen[name]), _function(value)) for name, value in at.items()]


def _pair(name: str, values: np.ndarray, function: Callable[[np.ndarray], np.ndarray]) -> Pair:
    low, high = min(float(values.min()), 0.0), max(float(values.max()), 0.0)
    whole = max(high - low, 1e-6)
    zero = round(-low / whole * LEVELS)
    wanted = function(values)

    def error(scale: float) -> float:
        bytes_ = np.clip(np.rint(values / scale) + zero, 0, LEVELS)
        return float(np.square(function((bytes_ - zero) * scale) - wanted).mean())

    scale = min((float(fraction) * whole / LEVELS for fraction in FRACTIONS), key=error)
    return Pair(name=name, scale=scale, zero=zero)


def _function(value: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Return what is computed from a tensor, as far as it is a function of each value: up to the next layer's codes."""
    user = sole_user(value)
    if user is None or user.inputs[0] is not value:
        return np.positive
    if user.op_type == QUANTIZE:
        scale, zero = float(array(user.inputs[1])), int(array(user.inputs[2]))
        low, high = limits(user)
        return lambda values: np.clip(np.rint(values / scale) + zero, low, high)
    if user.op_type in FUNCTIONS:
        own, behind = FUNCTIONS[user.op_type], _function(user.outputs[0])
        return lambda values: behind(own(values))
    return np.positive


def _free(name: str, taken: Collection[str]) -> str:
    """Return a name, with a number where it is taken: that of a layer that is used in several places."""
    number = 1
    while (free := name if number == 1 else f"{name} ({number})") in taken:
        number += 1
    return free


def _end(value: Any) -> Any:
    """Return the last tensor behind a product that a QuantizeLinear could be brought up from."""
    while (user := sole_user(value)) is not None and user.op_type in MONOTONE and user.inputs[0] is value:
        value = user.outputs[0]
    return value
