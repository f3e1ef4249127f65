"""Augmentation of training images by gathering: rows and columns are shifted and mirrored by index."""

import torch

from tune_qat.data import counter_rng

SHIFT_SHARE = 8
"""Divisor of the side that gives the largest shift: 4 pixels at 32, as usual on CIFAR."""
_DOWN, _RIGHT, _FLIP = range(3)


def crop_flip(images: torch.Tensor, index: torch.Tensor, seed: int, epoch: int) -> torch.Tensor:
    """Return the images, each shifted by up to an eighth of its side, and mirrored left to right half of the time.

    Pixels that a shift brings in from outside are those of the image reflected at its edge: photographs have no black
    beyond it.

    Args:
        images: uint8 of shape (b, channels, height, width), contiguous.
        index: numbers of the samples, int64 of shape (b,), on the same device.
        seed: seed of the trial.
        epoch: epoch of the batch.

    Returns:
        uint8 of shape (b, channels, height, width).
    """
    b, channels, height, width = images.shape
    rows = _reflected(_positions(height, index, seed, epoch, _DOWN), height)
    columns = _reflected(_positions(width, index, seed, epoch, _RIGHT), width)
    mirrored = counter_rng.integers(index, 2, seed, epoch, _FLIP).bool()[:, None]
    columns = torch.where(mirrored, columns.flip(1), columns)
    # Whole rows first: copying them is much faster than picking pixels, and leaves pixels to pick from short rows.
    first_rows = torch.arange(b * channels, device=index.device).reshape(b, channels, 1) * height
    shifted = images.reshape(-1, width).index_select(0, (first_rows + rows[:, None, :]).flatten())
    return shifted.reshape(images.shape).gather(3, columns[:, None, None, :].expand(images.shape))


def _positions(side: int, index: torch.Tensor, seed: int, epoch: int, purpose: int) -> torch.Tensor:
    """Return the positions 0..side-1, shifted for each image, int64 of shape (b, side)."""
    reach = side // SHIFT_SHARE
    shift = counter_rng.integers(index, 2 * reach + 1, seed, epoch, purpose) - reach
    return torch.arange(side, device=index.device) + shift[:, None]


def _reflected(position: torch.Tensor, side: int) -> torch.Tensor:
    """Return the positions, with those beyond an edge mirrored at the outermost pixel."""
    return (side - 1) - ((side - 1) - position.abs()).abs()
