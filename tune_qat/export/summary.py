"""Summary of an exported model: the bits of each layer, and the size of the file."""

from pathlib import Path

import pandas as pd

from tune_qat.config import FLOAT_BITS
from tune_qat.export.integer_weight import BYTE, IntegerWeight, integer_weight
from tune_qat.export.onnx_file import NARROW
from tune_qat.export.trained import Trained
from tune_qat.quantization.layer import QuantizedLayer
from tune_qat.quantization.model import quantized_layers
from tune_qat.text.tables import table_text

FLOAT_BYTES = 4


def described(trained: Trained, path: Path) -> str:
    """Return a table of the layers, with the bits of their grids and of a weight in the file, and the file's size."""
    layers = quantized_layers(trained.model)
    table = pd.DataFrame([_line(layer, path.suffix) for layer in layers])
    float_bytes = FLOAT_BYTES * float_values(trained)
    size = (
        f"{path}: {path.stat().st_size:,} bytes; the weights, biases and statistics of the same model in float32 are "
        f"{float_bytes:,} bytes"
    )
    return f"{table_text(table, count=False)}\n\n{size}" if layers else f"{size} (nothing is quantized)"


def float_values(trained: Trained) -> int:
    """Count the values of the floating-point model: its parameters and buffers, without those of quantizers."""
    of_quantizers = {
        id(value)
        for layer in quantized_layers(trained.model)
        for part in (layer.weight_quantizer, layer.input_quantizer)
        if part is not None
        for value in (*part.parameters(), *part.buffers())
    }
    values = (*trained.model.parameters(), *trained.model.buffers())
    return sum(value.numel() for value in values if id(value) not in of_quantizers)


def stored_bits(weight: IntegerWeight | None, suffix: str) -> int:
    """Return the bits of a weight in a file of this suffix: packed in `.pt`, 4 or 8 in ONNX, 32 if not quantized."""
    if weight is None:
        return FLOAT_BITS
    if suffix == ".pt":
        return weight.width
    return NARROW if weight.bits <= NARROW else BYTE


def _line(layer: QuantizedLayer, suffix: str) -> dict[str, object]:
    weight = integer_weight(layer)
    return {
        "layer": layer.name,
        "weights": layer.layer.weight.numel(),
        "weight bits": FLOAT_BITS if weight is None else weight.bits,
        "stored in": stored_bits(weight, suffix),
        "input bits": FLOAT_BITS if layer.input_quantizer is None else layer.input_quantizer.bits,
    }
