"""Mean and standard deviation of each channel, exact for 8-bit images."""

import torch

_AT_ONCE = 4_096
"""Samples that are converted at once, so that a whole array is never copied in another type."""


def level_counts(images: torch.Tensor) -> torch.Tensor:
    """Count how often each channel has each of the 256 grey levels: int64 of shape (channels, 256), on the CPU."""
    channels = images.shape[1]
    counts = torch.zeros(channels, 256, dtype=torch.int64)
    for chunk in images.split(_AT_ONCE):
        for channel in range(channels):
            counts[channel] += torch.bincount(chunk[:, channel].flatten(), minlength=256).cpu()
    return counts


def level_statistics(counts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean and the standard deviation of each channel in grey levels, float32 of shape (1, channels, 1, 1).

    A deviation below 1 counts as 1.
    """
    share = counts.double() / counts.sum(1, keepdim=True)
    level = torch.arange(256, dtype=torch.float64)
    mean = (share * level).sum(1)
    deviation = (share * (level - mean[:, None]).square()).sum(1).sqrt().clamp(min=1.0)  # a constant channel becomes 0
    shape = (1, len(counts), 1, 1)
    return mean.float().reshape(shape), deviation.float().reshape(shape)


def channel_statistics(inputs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the mean and the standard deviation of each channel, float32 of shape (1, channels, 1, ...), on the CPU.

    A deviation of 0 counts as 1.

    Args:
        inputs: numbers of shape (n, channels, ...).
    """
    axes = [0, *range(2, inputs.dim())]
    count = inputs.numel() // inputs.shape[1]
    zero = torch.zeros(inputs.shape[1], dtype=torch.float64)
    # Two passes: squares of large numbers less the square of their mean would keep few digits.
    mean = sum((chunk.cpu().double().sum(axes) for chunk in inputs.split(_AT_ONCE)), zero) / count
    wide = mean.reshape(1, -1, *[1] * (inputs.dim() - 2))
    squares = sum(((chunk.cpu().double() - wide).square().sum(axes) for chunk in inputs.split(_AT_ONCE)), zero)
    deviation = (squares / count).sqrt().reshape(wide.shape)
    return wide.float(), torch.where(deviation > 0, deviation, 1.0).float()
