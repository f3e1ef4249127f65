"""Numpy arrays as tensors, and tensors on a device."""

import warnings

import numpy as np
import torch


def as_tensor(array: np.ndarray, device: torch.device) -> torch.Tensor:
    """Return the array as a tensor on the device; on the CPU it shares the array's memory and must not be written to.

    Read-only arrays (of a shared object store) are accepted without torch's warning: it has no read-only tensors.
    The array must be contiguous. Its strides are made anew: an axis of length 1 may carry any stride, which pickling
    changes, and torch would then pick another memory layout, and with it another order of sums, for the same data.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*not writable", category=UserWarning)
        return torch.from_numpy(array.reshape(-1)).reshape(array.shape).to(device)


def moved(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Return the tensor on the device; from the host to a GPU through pinned memory, without waiting for the copy."""
    if device.type == "cuda" and tensor.device.type == "cpu":
        return tensor.pin_memory().to(device, non_blocking=True)
    return tensor.to(device)
