"""Numpy arrays as tensors on a device."""

import warnings

import numpy as np
import torch


def as_tensor(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """The array on the device; on the CPU it is the same memory, which nobody may write to.

    Read-only arrays (of a shared object store) are taken as they are: torch has no read-only tensors, and warns.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not writable", category=UserWarning)
        return torch.from_numpy(array).to(device)
