"""A trained model as the ONNX file that onnxruntime runs fast: an approximation, whose agreement is measured."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch

from tune_qat.config import TuneQatError
from tune_qat.data.task import Task
from tune_qat.export.agreement import Agreement, check_task, measured
from tune_qat.export.integer_graph import (
    DEQUANTIZE,
    array,
    constant,
    fold_norms,
    hoist,
    integer_biases,
    is_constant,
)
from tune_qat.export.onnx_file import about, traced
from tune_qat.export.pairs import Pair, calibrated, insert
from tune_qat.export.runtime import Session, timed
from tune_qat.export.runtime_layers import check_layers, with_pairs
from tune_qat.export.trained import Trained

SAMPLES, BATCHES = 32, 4
"""Training samples of a batch to calibrate on, and batches."""
ROUNDS, TURN_S = 3, 0.05


@dataclass(frozen=True, kw_only=True)
class SpeedFile:
    """An export for speed, not yet written."""

    content: bytes
    floating: bytes
    """The same network in floating point, to compare speeds with."""
    pairs: Sequence[Pair]
    agreement: Agreement
    times_faster: float
    """Than the same network in floating point, on this machine, batch 1."""

    @property
    def words(self) -> str:
        """Description for people: agreement, added pairs, and that it is not faster where it is not."""
        lines = [f"It predicts {self.agreement.words}."]
        if self.pairs:
            names = ", ".join(pair.name for pair in self.pairs)
            lines.append(f"Rounded to 8 bits though training did not, by ranges of training data: outputs of {names}.")
        if self.times_faster <= 1:
            lines.append(
                f"On this machine it is {self.times_faster:.2f} times as fast as floating point (batch 1): not faster."
            )
        return "\n".join(lines)


def speed_file(trained: Trained, task: Task) -> SpeedFile:
    """Make the file of a model; its metadata `tune_qat` says also how far it was found to agree with what was trained.

    Raises:
        UsageError: the method, or the task, has no such export.
        TuneQatError: the file would not agree with the trained model; the message names the pair that costs most.
    """
    check_possible(trained)
    batches = list(_training_batches(task, trained.config.seed))
    model = integer_model(trained, batches)
    session = Session(model.content())
    agreement = measured(trained.model, session, task)
    if not agreement.met:
        raise _disagrees(trained, model, batches[0], agreement)
    sessions = {"speed": session, "float": Session(model.floating)}
    timing = timed(sessions, batches[0][:1], rounds=ROUNDS, least_s=TURN_S)
    more = {
        "for": "speed",
        "agreement": {agreement.measure: agreement.value, "images": agreement.n},
        "pairs": [asdict(pair) for pair in model.pairs],
    }
    return SpeedFile(
        content=model.content(described=json.dumps(about(trained) | more)),
        floating=model.floating,
        pairs=model.pairs,
        agreement=agreement,
        times_faster=timing.times_faster("speed", "float"),
    )


def check_possible(trained: Trained) -> None:
    """Raise `UsageError` for a method, or a task, that has no export for speed; before data is read."""
    check_task(trained.model_input.task)
    check_layers(trained.model)


@dataclass(frozen=True, kw_only=True)
class IntegerModel:
    """A traced model with each QuantizeLinear right behind its product, and the pairs that it lacks."""

    graph: Any
    pairs: Sequence[Pair]
    floating: bytes

    def content(self, *, without: Pair | None = None, described: str | None = None) -> bytes:
        """Return the file, with metadata where it is `described`, and without one of the pairs."""
        copied = _copy(self.graph)
        insert(copied.graph, [pair for pair in self.pairs if pair is not without])
        integer_biases(copied.graph)
        return _content(copied, described)


def integer_model(trained: Trained, batches: Sequence[torch.Tensor]) -> IntegerModel:
    """Make a model of integer products, with pairs that are calibrated on batches of inputs."""
    graph = traced(with_pairs(trained.model), trained)
    fold_norms(graph.graph)
    floating = _content(in_floating_point(graph))
    hoist(graph.graph)
    pairs = calibrated(graph.graph, lambda names: _tensors(graph, names, batches))
    return IntegerModel(graph=graph, pairs=pairs, floating=floating)


def in_floating_point(model: Any) -> Any:
    """Return a copy of a traced model without its pairs and with weights of float32: what the same network costs so."""
    copied = _copy(model)
    graph = copied.graph
    for node in [node for node in graph if node.op_type == DEQUANTIZE]:
        if is_constant(node.inputs[0]):
            codes, scale, zero = (array(one).astype(np.float32) for one in node.inputs)
            rows = (-1, *(1,) * (codes.ndim - 1))
            value = (codes - zero.reshape(rows)) * scale.reshape(rows)
            source = constant(graph, f"{node.inputs[0].name}.value", value.astype(np.float32))
        else:
            source = node.inputs[0]
            while source.dtype != node.outputs[0].dtype:  # up past Clip and QuantizeLinear
                source = source.producer().inputs[0]
        node.outputs[0].replace_all_uses_with(source)
    return copied


def _copy(model: Any) -> Any:
    import onnx_ir

    return onnx_ir.from_proto(onnx_ir.to_proto(model))


def _content(model: Any, described: str | None = None) -> bytes:
    import onnx_ir
    import onnx_ir.passes.common

    onnx_ir.passes.common.RemoveUnusedNodesPass()(model)
    onnx_ir.passes.common.ClearMetadataAndDocStringPass()(model)
    if described is not None:
        model.metadata_props["tune_qat"] = described
    content: bytes = onnx_ir.to_proto(model).SerializeToString()
    return content


def _training_batches(task: Task, seed: int) -> Iterator[torch.Tensor]:
    order = torch.randperm(task.train_size, generator=torch.Generator().manual_seed(seed))
    for index in order[: SAMPLES * BATCHES].split(SAMPLES):
        yield task.batch(seed, 0, index)[0]


def _tensors(model: Any, names: Sequence[str], batches: Sequence[torch.Tensor]) -> Iterator[list[np.ndarray]]:
    """Yield the tensors of these names for each batch."""
    import onnx_ir

    shown = _copy(model)
    values = {value.name: value for node in shown.graph for value in node.outputs}
    for name in names:
        if not values[name].is_graph_output():
            values[name].dtype = onnx_ir.DataType.FLOAT
            shown.graph.outputs.append(values[name])
    session = Session(_content(shown))
    for batch in batches:
        yield session.outputs(batch, names)


@torch.no_grad()
def _disagrees(trained: Trained, model: IntegerModel, inputs: torch.Tensor, agreement: Agreement) -> TuneQatError:
    wanted = trained.model(inputs)

    def error(without: Pair | None) -> float:
        return float((Session(model.content(without=without))(inputs) - wanted).square().mean())

    blame = ""
    if model.pairs:
        smallest, costliest = min((error(pair), pair.name) for pair in model.pairs)
        blame = (
            f" Of what it rounds and training did not, the output of {costliest} costs most: without that, the mean "
            f"squared difference of outputs falls from {error(None):.3g} to {smallest:.3g}."
        )
    return TuneQatError(
        f"The export for speed is too far from the trained model: it predicts {agreement.words}, and has to be within "
        f"{agreement.limit}.{blame} `--for exact` writes what was trained."
    )
