"""Failures of a trial's process: out of memory, killed, or lost with its node."""

import pickle
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_RESTARTS = 3
"""Restarts of a trial after the loss of its process or node; drained nodes are not counted."""
_TEXT = 4_000
"""Number of final characters of a reason that are kept."""
_NO_MEMORY = (
    "DefaultCPUAllocator: can't allocate memory",
    "DefaultCPUAllocator: not enough memory",
    "CUDA out of memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "CUDNN_STATUS_ALLOC_FAILED",
)
"""Words of torch's out-of-memory errors that are plain `RuntimeError`s."""
_KILLED_FOR_MEMORY = "killed due to the node running low on memory"
_KILLED = re.compile(r"Selected to kill: \(Actor\((?P<actor>[0-9a-f]+)\).*?actual memory used=(?P<gigabytes>[\d.]+)GB")


@dataclass(frozen=True, kw_only=True, slots=True)
class ProcessFailure:
    """Reason why Ray lost a trial's process."""

    reason: str
    out_of_memory: bool = False
    """Whether Ray's memory monitor killed it for its own memory. A kill by the kernel looks like any other kill."""
    excused: bool = False
    """Whether the loss is not counted: the node was drained, or another trial took the memory."""


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an exception, or one that caused it, is an out-of-memory error of the host or of a GPU."""
    import torch

    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, torch.OutOfMemoryError | MemoryError):
            return True
        if isinstance(seen, RuntimeError) and any(words in str(seen) for words in _NO_MEMORY):
            return True
        seen = seen.__cause__ or seen.__context__
    return False


def failure_of(trial: Any) -> ProcessFailure:
    """Read why Ray Tune gave up a trial."""
    # `trial.get_error` looks in the results folder, which these files reach only with Tune's next snapshot.
    text = _read(trial.error_file)
    return ProcessFailure(reason=text[-_TEXT:], out_of_memory=_KILLED_FOR_MEMORY in text, excused=_preempted(trial))


def killed_for_memory(text: str) -> list[str]:
    """Return Ray's names of the processes that its memory monitor reports as killed, the largest first."""
    found = [(float(match["gigabytes"]), match["actor"]) for match in _KILLED.finditer(text)]
    return [actor for _, actor in sorted(found, reverse=True)]


def _read(path: str | None) -> str:
    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace") if path else ""
    except OSError:
        text = ""
    return text.strip() or "Ray ended the trial without giving a reason."


def _preempted(trial: Any) -> bool:
    try:
        return bool(pickle.loads(Path(trial.pickled_error_file).read_bytes()).preempted)
    except Exception:  # no such file, or an error of another kind
        return False
