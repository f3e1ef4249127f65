"""Super-resolution of luma: mean squared error, PSNR, mean grey as reference, interpolation as baselines."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch.nn import functional

from tune_qat.data import counter_rng
from tune_qat.data.arrays import as_tensor
from tune_qat.data.base import Dataset, Evaluation, ImagePairs, Task

MIN_MSE = 1e-10
"""A perfect image counts as 100 dB, so that a mean over images stays finite."""
_TOP, _LEFT, _FLIP, _TRANSPOSE = range(4)


class SuperResolution(Task):
    """Luma planes on one device, in [0, 1]: 8-bit levels / 255."""

    metric = "psnr"
    unit = "dB"
    sign = 1
    worst_metric = 0.0  # outputs are clamped to [0, 1], so the error is at most 1

    def __init__(self, dataset: Dataset, device: torch.device | str) -> None:
        self.model_input = dataset.model_input
        self._scale = int(dataset.options["scale"])
        self._patch = int(dataset.options["patch_size"])
        self._patches_per_image = int(dataset.options["patches_per_image"])
        self.train_size = dataset.sizes["train"] * self._patches_per_image
        self._device = torch.device(device)
        self._splits = {name: _Planes(split, self._device) for name, split in dataset.splits.items()}

    def batch(self, seed: int, epoch: int, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Low- and high-resolution patches, float32 of shapes (b, 1, p, p) and (b, 1, p * scale, p * scale).

        Sample i is a random patch of image i // patches_per_image, mirrored half of the time and transposed half
        of the time.
        """
        planes, index = self._splits["train"], index.to(self._device)
        image = index // self._patches_per_image
        height, width = planes.low_shapes[image].unbind(1)
        top = counter_rng.integers(index, height - self._patch + 1, seed, epoch, _TOP)
        left = counter_rng.integers(index, width - self._patch + 1, seed, epoch, _LEFT)
        flip = counter_rng.integers(index, 2, seed, epoch, _FLIP).bool()
        transpose = counter_rng.integers(index, 2, seed, epoch, _TRANSPOSE).bool()

        def gather(flat: torch.Tensor, starts: torch.Tensor, widths: torch.Tensor, scale: int) -> torch.Tensor:
            offset = starts[image] + top * scale * widths + left * scale
            steps = _patch_steps(self._patch * scale, widths, flip, transpose)
            return flat[offset[:, None, None] + steps].unsqueeze(1).to(torch.float32).div_(255)

        low = gather(planes.low, planes.low_starts, width, 1)
        return low, gather(planes.high, planes.high_starts, width * self._scale, self._scale)

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Mean squared error of levels in [0, 1]."""
        return functional.mse_loss(output.float(), target)

    def batch_metric(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """PSNR in dB of the batch's mean squared error, output clamped to [0, 1], patches without border crop."""
        return -10 * torch.log10(_clamped_mse(output.float(), target))

    def evaluate(self, predict: Callable[[torch.Tensor], torch.Tensor], split: str) -> Evaluation:
        """Means over the images of a split: loss over each whole image, PSNR without a border of `scale` pixels.

        An error that is not finite gives a loss and a metric that are not finite.
        """
        border, errors = self._scale, []
        for low, high in self._splits[split]:
            output = predict(low).float()
            inner = (..., slice(border, -border), slice(border, -border))
            errors.append(torch.stack([self.loss(output, high), _clamped_mse(output[inner], high[inner])]))
        losses, clamped = torch.stack(errors).cpu().double().unbind(1)  # read once: each read waits for the device
        psnr = -10 * torch.log10(clamped)
        return Evaluation(loss=losses.mean().item(), metric=psnr.mean().item(), top5=None, n=len(errors), correct=None)

    def trivial(self, split: str) -> Evaluation:
        """Always the mean grey level of the training split's high-resolution pixels."""
        grey = self._splits["train"].mean_level
        return self.evaluate(lambda low: low.new_full((), grey).expand(self._enlarged(low)), split)

    def baselines(self, split: str) -> dict[str, float]:
        """PSNR of interpolation: bicubic (a = -0.5, as the reduction) and nearest neighbour."""

        def interpolate(mode: str, *, antialias: bool) -> float:
            def predict(low: torch.Tensor) -> torch.Tensor:
                return functional.interpolate(low, size=self._enlarged(low)[2:], mode=mode, antialias=antialias)

            return self.evaluate(predict, split).metric

        # when an image is enlarged, antialias changes nothing but the kernel: a = -0.5, where torch else has -0.75
        return {
            "bicubic": interpolate("bicubic", antialias=True),
            "nearest": interpolate("nearest", antialias=False),
        }

    def _enlarged(self, low: torch.Tensor) -> tuple[int, ...]:
        return (*low.shape[:2], low.shape[2] * self._scale, low.shape[3] * self._scale)


class _Planes:
    """The images of one split on a device; iterating gives (low, high) of one image after the other."""

    def __init__(self, split: object, device: torch.device) -> None:
        if not isinstance(split, ImagePairs):
            raise TypeError(f"super-resolution needs ImagePairs, not {type(split).__name__}")
        self.low, self.high = as_tensor(split.low, device), as_tensor(split.high, device)
        self.low_shapes = as_tensor(split.low_shapes, device)
        self.low_starts = as_tensor(_starts(split.low_shapes), device)
        self.high_starts = as_tensor(_starts(split.high_shapes), device)
        self._shapes = [(*low, *high) for low, high in zip(split.low_shapes, split.high_shapes, strict=True)]

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        low_start = high_start = 0
        for low_height, low_width, height, width in self._shapes:
            low = self.low[low_start : low_start + low_height * low_width].reshape(1, 1, low_height, low_width)
            high = self.high[high_start : high_start + height * width].reshape(1, 1, height, width)
            low_start, high_start = low_start + low_height * low_width, high_start + height * width
            yield low.to(torch.float32).div_(255), high.to(torch.float32).div_(255)

    @property
    def mean_level(self) -> float:
        return self.high.sum(dtype=torch.int64).item() / (255 * self.high.numel())


def _starts(shapes: np.ndarray) -> np.ndarray:
    """Where each image starts in the flat array."""
    sizes = shapes.prod(axis=1)
    return np.cumsum(sizes) - sizes


def _patch_steps(side: int, width: torch.Tensor, flip: torch.Tensor, transpose: torch.Tensor) -> torch.Tensor:
    """Offsets of a patch's pixels from its top left pixel, int64 of shape (b, side, side).

    Args:
        side: of the patch.
        width: of each patch's image, shape (b,).
        flip: which patches are mirrored left to right, shape (b,).
        transpose: which patches have rows and columns exchanged after that, shape (b,).
    """
    forward = torch.arange(side, device=width.device)
    column = torch.where(flip[:, None], forward.flip(0), forward)
    upright = forward[:, None] * width[:, None, None] + column[:, None, :]
    return torch.where(transpose[:, None, None], upright.transpose(1, 2), upright)


def _clamped_mse(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return functional.mse_loss(output.clamp(0, 1), target).clamp(min=MIN_MSE)
