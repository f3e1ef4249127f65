"""Limit of the memory that a trial may take of a GPU which it shares."""

from collections.abc import Iterator
from contextlib import contextmanager

CONTEXT_MB = 700.0
"""GPU memory of a process besides its tensors: CUDA's context and the code of its kernels."""


def share(gpus: float, total_mb: float) -> float:
    """Return the fraction of a GPU's memory for the tensors of a trial that holds the fraction `gpus` of the GPU."""
    return max(0.0, gpus - CONTEXT_MB / total_mb)


@contextmanager
def memory_share(device: str, gpus: float) -> Iterator[None]:
    """Limit this process to its share of a GPU, beyond which torch raises `OutOfMemoryError`, within the block.

    Without a limit the trial that allocates last would fail, and not the one that takes too much.
    """
    if not device.startswith("cuda") or not 0 < gpus < 1:
        yield
        return
    import torch

    # The current device: Ray shows a trial only its own GPU.
    total = torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory / 1e6
    torch.cuda.set_per_process_memory_fraction(share(gpus, total))
    try:
        yield
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
