"""A trained model as an ONNX file with integer weights."""

import json
from pathlib import Path
from typing import Any

import torch

from tune_qat.export.onnx_layers import OPSET, StoredWeight, with_integers
from tune_qat.export.trained import Trained
from tune_qat.storage.paths import write_whole

INPUT, OUTPUT = "images", "outputs"
NARROW = 4
"""Bits of the narrowest integer type that ONNX has at `OPSET`."""
LARGEST_FOLDED = 4096
"""Largest number of elements of a folded constant: a larger one might outgrow what it is computed from."""


def save_onnx(trained: Trained, path: Path) -> None:
    """Write the model atomically, as `exact_content` has it."""
    write_whole(path, exact_content(trained))


def exact_content(trained: Trained) -> bytes:
    """Return the file of a model, for any number of images, and of any size where the model takes any.

    Input `images` and output `outputs` are float32, in the shapes of the model itself. The metadata `tune_qat` of the
    file is JSON; its mean and deviation say how 8-bit images become the input.
    """
    import onnx_ir
    import onnx_ir.passes.common

    model = with_integers(trained.model)
    onnx_model = traced(model, trained)
    stored = {name: module for name, module in model.named_modules() if isinstance(module, StoredWeight)}
    _narrow(onnx_model, {f"{name}.codes": weight.bits for name, weight in stored.items()})
    # Stack traces are half of a small file, and of no use to its readers.
    onnx_ir.passes.common.ClearMetadataAndDocStringPass()(onnx_model)
    onnx_model.metadata_props["tune_qat"] = json.dumps(about(trained))
    content: bytes = onnx_ir.to_proto(onnx_model).SerializeToString()
    return content


def about(trained: Trained) -> dict[str, Any]:
    """Return what the metadata of a file says of its model."""
    mean, deviation = trained.normalisation
    return {
        "trial_key": trained.trial_key,
        "model": trained.config.model,
        "scheme": trained.config.to_dict()["scheme"],
        "mean": mean,
        "deviation": deviation,
        **trained.about_source,
    }


@torch.no_grad()
def traced(model: torch.nn.Module, trained: Trained) -> Any:
    """Return the graph of a model that takes the input of `trained`, as an `onnx_ir.Model`."""
    import onnxscript.optimizer

    example = trained.example
    # Two images of unequal sides: a size of 1, or one that two dimensions share, would be taken for a constant.
    shape: dict[int, Any] = {0: torch.export.Dim("batch")}
    example = example.expand(2, *example.shape[1:]).contiguous()
    if trained.model_input.scale is not None:
        shape |= {2: torch.export.Dim("height"), 3: torch.export.Dim("width")}
        example = example[..., :-4]
    program = torch.onnx.export(
        model,
        (example,),
        dynamo=True,
        dynamic_shapes=(shape,),
        opset_version=OPSET,
        input_names=[INPUT],
        output_names=[OUTPUT],
        optimize=False,
        verbose=False,
    )
    assert program is not None
    return onnxscript.optimizer.optimize(program.model, output_size_limit=LARGEST_FOLDED)


def _narrow(onnx_model: Any, bits: dict[str, int]) -> None:
    """Store codes of at most 4 bits as 4-bit integers, two to a byte: torch has no such type."""
    import onnx_ir

    kinds = {onnx_ir.DataType.INT8: onnx_ir.DataType.INT4, onnx_ir.DataType.UINT8: onnx_ir.DataType.UINT4}
    for name, value in onnx_model.graph.initializers.items():
        if bits.get(name, NARROW + 1) <= NARROW:
            kind = kinds[value.const_value.dtype]
            array = value.const_value.numpy().astype(kind.numpy())
            value.const_value = onnx_ir.Tensor(array, dtype=kind, name=name)
            value.type = onnx_ir.TensorType(kind)
