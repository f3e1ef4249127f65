"""Speed of a model's exports beside the same network in floating point, in onnxruntime on one thread."""

from collections.abc import Mapping

import pandas as pd
import torch

from tune_qat.export.runtime import Session, Timing, timed
from tune_qat.export.trained import Trained
from tune_qat.text.tables import table_text

FLOATING = "floating point"
BATCHES = (1, 32)
ROUNDS, TURN_S = 7, 0.2
ANY_SIZE = 128
"""Height and width of the images if a model takes any."""


def benchmarked(trained: Trained, contents: Mapping[str, bytes]) -> str:
    """Measure models, `FLOATING` among them, in turns at the batches of `BATCHES`; return a table."""
    sessions = {name: Session(content) for name, content in contents.items()}
    lines: list[dict[str, object]] = []
    for batch in BATCHES:
        inputs = noise(trained, batch)
        timing = timed(sessions, inputs, rounds=ROUNDS, least_s=TURN_S)
        lines += [_line(name, inputs, timing) for name in contents]
    return (
        f"{table_text(pd.DataFrame(lines), count=False)}\n\n"
        f"onnxruntime, one thread, medians of {ROUNDS} rounds in which all take turns."
    )


def noise(trained: Trained, batch: int) -> torch.Tensor:
    """Return random inputs of a model in its shape, a whole batch."""
    shape = [batch, *trained.example.shape[1:]]
    if trained.model_input.scale is not None:
        shape[2:] = [ANY_SIZE, ANY_SIZE]
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def _line(name: str, inputs: torch.Tensor, timing: Timing) -> dict[str, object]:
    return {
        "file": name,
        "batch": len(inputs),
        "input": " x ".join(map(str, inputs.shape[1:])),
        "ms": f"{timing.milliseconds(name):.3g}",
        "times as fast as floating point": f"{timing.times_faster(name, FLOATING):.2f}",
    }
