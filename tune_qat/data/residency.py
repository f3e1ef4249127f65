"""Where a split is kept while it is trained on: on the device, or on the host or its disk, batch by batch."""

import torch

SHARE = 0.5
"""Of a GPU's free memory, for one split; the model and what it computes need the rest."""


def stays_on_device(size: int, *, free: int | None, mapped: bool) -> bool:
    """Whether a split is kept whole in the device's memory.

    Args:
        size: bytes of the split.
        free: free bytes of the device; None where its memory is the host's, which the data is in already.
        mapped: whether the data is in a file; on the host it is left there, for the page cache to share.
    """
    return not mapped if free is None else size <= SHARE * free


def free_memory(device: torch.device) -> int | None:
    """Free bytes of a GPU; None for other devices."""
    return torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else None
