"""onnxruntime on one thread: predictions of ONNX models, and how long they take."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
import torch

from tune_qat.export.onnx_file import INPUT


class Session:
    """An ONNX model in onnxruntime, on one thread of the CPU."""

    def __init__(self, content: bytes) -> None:
        """Load a model."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """Return the model's output of a batch of inputs."""
        return torch.from_numpy(np.asarray(self.outputs(inputs)[0]))

    def outputs(self, inputs: torch.Tensor, names: Sequence[str] | None = None) -> list[np.ndarray]:
        """Return the outputs of these names, or all of them, of a batch of inputs."""
        found: list[np.ndarray] = self._session.run(names, {INPUT: inputs.contiguous().numpy()})
        return found


@dataclass(frozen=True, kw_only=True)
class Timing:
    """Seconds of a call of several models that took turns, round by round."""

    seconds: Mapping[str, Sequence[float]]

    def milliseconds(self, name: str) -> float:
        """Return the median of a model's calls."""
        return 1000 * median(self.seconds[name])

    def times_faster(self, name: str, than: str) -> float:
        """Return the median over the rounds of how many times faster a model was than another in the same round."""
        pairs = zip(self.seconds[name], self.seconds[than], strict=True)
        return median(other / own for own, other in pairs)


def timed(sessions: Mapping[str, Session], inputs: torch.Tensor, *, rounds: int, least_s: float) -> Timing:
    """Let models take turns, `rounds` times after one to warm up; a turn is the fastest call in `least_s` seconds.

    What else runs on the machine makes calls slower and never faster, and what lasts over a round disturbs all of them.
    """
    seconds: dict[str, list[float]] = {name: [] for name in sessions}
    for turn in range(rounds + 1):
        for name, session in sessions.items():
            taken = _fastest(session, inputs, least_s)
            if turn:
                seconds[name].append(taken)
    return Timing(seconds=seconds)


def _fastest(session: Session, inputs: torch.Tensor, least_s: float) -> float:
    fastest, until = float("inf"), time.perf_counter() + least_s
    while True:
        began = time.perf_counter()
        session.outputs(inputs)
        ended = time.perf_counter()
        fastest = min(fastest, ended - began)
        if ended >= until:
            return fastest


def kernels(content: bytes, path: Any) -> list[str]:
    """Return the operators of a model as onnxruntime runs it, in order; its optimized graph is written to `path`."""
    import onnx
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath, options.log_severity_level = str(path), 3
    onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    return [node.op_type for node in onnx.load(path).graph.node]
