"""Residency of a split during training: on the device, or on the host or its disk and copied batch by batch."""

import torch

SHARE = 0.5
"""Share of a GPU's free memory for one split; the model and its activations need the rest."""


def stays_on_device(size: int, *, free: int | None, mapped: bool) -> bool:
    """Return whether a split is kept whole in the device's memory.

    Args:
        size: bytes of the split.
        free: free bytes of the device; None if its memory is the host's, which the data is in already.
        mapped: whether the data is in a mapped file; on the host it stays there, shared through the page cache.
    """
    return not mapped if free is None else size <= SHARE * free


def free_memory(device: torch.device) -> int | None:
    """Return the free bytes of a GPU; None for other devices."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
