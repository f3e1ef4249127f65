"""Several trials on one GPU: the part of its memory that each may take."""

from collections.abc import Iterator
from contextlib import contextmanager

CONTEXT_MB = 700.0
"""What a process takes of a GPU beside its tensors: CUDA's context and the code of its kernels."""


def share(gpus: float, total_mb: float) -> float:
    """Part of a GPU's memory that the tensors of a trial may take which holds the part `gpus` of the GPU."""
    return max(0.0, gpus - CONTEXT_MB / total_mb)


@contextmanager
def memory_share(device: str, gpus: float) -> Iterator[None]:
    """Keep this process to its share where it holds a part of a GPU: past it torch raises `OutOfMemoryError`.

    Without it the trial that allocates last would fail for one that takes too much. The limit is gone afterwards.
    """
    if not device.startswith("cuda") or not 0 < gpus < 1:
        yield
        return
    import torch

    # Of the current device: Ray shows a trial no GPU but its own.
    total = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory / 1e6
    torch.cuda.set_per_process_memory_fraction(share(gpus, total))
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
