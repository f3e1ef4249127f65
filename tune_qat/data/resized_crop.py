"""Random resized crops (Szegedy et al., CVPR 2015, section 6), as ImageNet is trained on: boxes, resized and mirrored.

Boxes are those of torchvision's `RandomResizedCrop`: a share of the image's area, a ratio of its sides, ten tries, then
the centre. They are drawn by `counter_rng` in the pixels of the image file, and cut out of the whole image as it was
decoded, a square of fixed size that has lost its proportions: resizing the box to a square gives them back.
"""

import math

import torch
from torch.nn import functional

from tune_qat.data import counter_rng

SCALE = (0.08, 1.0)
"""Share of the image's area."""
RATIO = (3 / 4, 4 / 3)
"""Width over height; as likely above 1 as below."""
TRIES = 10
_AREA, _SHAPE, _TOP, _LEFT, _MIRROR = range(10, 15)


def boxes(sizes: torch.Tensor, index: torch.Tensor, seed: int, epoch: int) -> torch.Tensor:
    """Return a box of each image in its own pixels: top, left, height, width, int64 of shape (b, 4).

    A function of seed, epoch and index alone.

    Args:
        sizes: height and width of each image, int64 of shape (b, 2).
        index: numbers of the samples, int64 of shape (b,).
        seed: seed of the trial.
        epoch: epoch of the batch.
    """
    draws = index[:, None] * TRIES + torch.arange(TRIES)
    height, width = sizes[:, :1], sizes[:, 1:]
    area = height * width * _between(*SCALE, draws, seed, epoch, _AREA)
    ratio = _between(math.log(RATIO[0]), math.log(RATIO[1]), draws, seed, epoch, _SHAPE).exp()
    wide, high = (area * ratio).sqrt().round().long(), (area / ratio).sqrt().round().long()
    fits = (wide > 0) & (wide <= width) & (high > 0) & (high <= height)
    first = fits.int().argmax(1, keepdim=True)
    high, wide = high.gather(1, first), wide.gather(1, first)
    top = counter_rng.integers(index[:, None], (height - high + 1).clamp(min=1), seed, epoch, _TOP)
    left = counter_rng.integers(index[:, None], (width - wide + 1).clamp(min=1), seed, epoch, _LEFT)
    drawn = torch.cat([top, left, high, wide], 1)
    return torch.where(fits.any(1, keepdim=True), drawn, _centres(height, width))


def crops(
    images: torch.Tensor, sizes: torch.Tensor, index: torch.Tensor, side: int, seed: int, epoch: int
) -> torch.Tensor:
    """Return a crop of each sample, mirrored left to right half of the time, uint8 of shape (b, channels, side, side).

    Args:
        images: whole images of the split as they were decoded, uint8 of shape (n, channels, s, s).
        sizes: height and width of their files, int64 of shape (n, 2), on the host.
        index: numbers of the samples, int64 of shape (b,), on the host.
        side: side of a crop.
        seed: seed of the trial.
        epoch: epoch of the batch.
    """
    of_files = sizes[index]
    stored = within(boxes(of_files, index, seed, epoch), of_files, images.shape[-1]).tolist()
    mirrored = counter_rng.integers(index, 2, seed, epoch, _MIRROR).bool().tolist()
    found = images.new_empty((len(index), images.shape[1], side, side))
    for place, (sample, box, mirror) in enumerate(zip(index.tolist(), stored, mirrored, strict=True)):
        crop = resized(images[sample], box, side)
        found[place] = crop.flip(-1) if mirror else crop
    return found


def within(found: torch.Tensor, sizes: torch.Tensor, stored: int) -> torch.Tensor:
    """Return boxes in the pixels of images that were stored as squares of `stored` pixels; at least a pixel each."""
    ends = torch.cat([found[:, :2], found[:, :2] + found[:, 2:]], 1)
    scaled = (ends * (stored / sizes.repeat(1, 2))).round().long()
    first = scaled[:, :2].clamp(max=stored - 1)
    return torch.cat([first, (scaled[:, 2:] - first).clamp(min=1)], 1)


def resized(image: torch.Tensor, box: list[int], side: int) -> torch.Tensor:
    """Return a box (top, left, height, width) of an image, uint8 of shape (channels, side, side).

    Bilinear and antialiased, as torchvision's `resized_crop` does it to a tensor.
    """
    top, left, height, width = box
    part = image[None, :, top : top + height, left : left + width]
    if part.device.type != "cpu":  # where torch resizes no bytes
        exact = functional.interpolate(part.float(), (side, side), mode="bilinear", antialias=True)
        return exact[0].round_().clamp_(0, 255).to(torch.uint8)
    return functional.interpolate(part, (side, side), mode="bilinear", antialias=True)[0]


def _between(low: float, high: float, index: torch.Tensor, *counters: int) -> torch.Tensor:
    return low + (high - low) * counter_rng.uniform(index, *counters)


def _centres(height: torch.Tensor, width: torch.Tensor) -> torch.Tensor:
    """Return the largest centre boxes of an allowed ratio, int64 of shape (b, 4)."""
    ratio = width / height
    high = torch.where(ratio < RATIO[0], (width / RATIO[0]).round().long(), height)
    wide = torch.where(ratio > RATIO[1], (height * RATIO[1]).round().long(), width)
    return torch.cat([(height - high) // 2, (width - wide) // 2, high, wide], 1)
