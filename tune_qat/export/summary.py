"""Summary of an exported model: the bits of each layer, and the size of the file."""

from pathlib import Path

import pandas as pd

from tune_qat.config import FLOAT_BITS
from tune_qat.export.integer_weight import BYTE, IntegerWeight, integer_weight
from tune_qat.export.onnx_file import NARROW
from tune_qat.export.trained import Trained
from tune_qat.quantization.layer import QuantizedLayer
from tune_qat.quantization.model import products, quantized_layers, quantizers_of
from tune_qat.text.tables import table_text

FLOAT_BYTES = 4


def described(trained: Trained, path: Path, purpose: str = "exact") -> str:
    """Return a table of the layers, with the bits of their grids and of a weight in the file, and the file's size."""
    layers = quantized_layers(trained.model)
    table = pd.DataFrame([_line(layer, path.suffix, purpose) for layer in layers])
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
        for part in (*quantizers_of(trained.model), *products(trained.model))
        for value in (*part.parameters(), *part.buffers())
    }
    values = (*trained.model.parameters(), *trained.model.buffers())
    return sum(value.numel() for value in values if id(value) not in of_quantizers)


def stored_bits(weight: IntegerWeight | None, suffix: str, purpose: str = "exact") -> int:
    """Return the bits of a weight in a file of this suffix: packed in `.pt`, 4 or 8 in ONNX, 32 if not quantized.

    In ONNX for `speed` it is 8 at every width.
    """
    if weight is None:
        return FLOAT_BITS
    if suffix == ".pt":
        return weight.width
    return NARROW if weight.bits <= NARROW and purpose == "exact" else BYTE


def _line(layer: QuantizedLayer, suffix: str, purpose: str) -> dict[str, object]:
    weight = integer_weight(layer)
    return {
        "layer": layer.name,
        "weights": layer.layer.weight.numel(),
        "weight bits": FLOAT_BITS if weight is None else weight.bits,
        "stored in": stored_bits(weight, suffix, purpose),
        "input bits": FLOAT_BITS if layer.input_quantizer is None else layer.input_quantizer.bits,
    }
