"""Super-resolution of luma: mean squared error, PSNR, mean grey as reference, interpolation as baselines."""

from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch.nn import functional

from tune_qat.data import counter_rng, residency
from tune_qat.data.arrays import as_tensor, moved
from tune_qat.data.spec import ImagePairs
from tune_qat.data.task import FEW_IMAGES, Dataset, Evaluation, Task

MIN_MSE = 1e-10
"""Smallest mean squared error: a perfect image counts as 100 dB, so that a mean over images stays finite."""
_TOP, _LEFT, _FLIP, _TRANSPOSE = range(4)


class SuperResolution(Task):
    """Luma planes on one device, in [0, 1]: 8-bit levels / 255.

    Planes that do not stay on the device (see `residency`) are cut into patches on the host and copied batch by batch.
    """

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
        self.device = torch.device(device)
        self._splits = {name: _Planes(split, self.device) for name, split in dataset.splits.items()}

    def batch(self, seed: int, epoch: int, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return low- and high-resolution patches, float32 of shapes (b, 1, p, p) and (b, 1, p * scale, p * scale).

        Sample i is a random patch of image i // patches_per_image, mirrored half of the time and transposed half
        of the time.
        """
        planes = self._splits["train"]
        index = moved(index, planes.low.device)
        image = index // self._patches_per_image
        height, width = planes.low_shapes[image].unbind(1)
        top = counter_rng.integers(index, height - self._patch + 1, seed, epoch, _TOP)
        left = counter_rng.integers(index, width - self._patch + 1, seed, epoch, _LEFT)
        flip = counter_rng.integers(index, 2, seed, epoch, _FLIP).bool()
        transpose = counter_rng.integers(index, 2, seed, epoch, _TRANSPOSE).bool()

        def gather(flat: torch.Tensor, starts: torch.Tensor, widths: torch.Tensor, scale: int) -> torch.Tensor:
            corners = starts[image] + top * scale * widths + left * scale
            patches = _cut_out(flat, corners, widths, self._patch * scale)
            patches = torch.where(flip[:, None, None], patches.flip(2), patches)
            patches = torch.where(transpose[:, None, None], patches.transpose(1, 2), patches)
            return moved(patches, self.device).unsqueeze(1).to(torch.float32).div_(255)

        low = gather(planes.low, planes.low_starts, width, 1)
        return low, gather(planes.high, planes.high_starts, width * self._scale, self._scale)

    @property
    def normalisation(self) -> tuple[list[float], list[float]]:
        """Mean 0 and deviation 255: levels become values in [0, 1]."""
        return [0.0], [255.0]

    @property
    def prepares_ahead(self) -> bool:
        """Whether the training planes do not stay on the device."""
        return not self._splits["train"].stays

    def output_shape(self, inputs: torch.Tensor) -> tuple[int, ...]:
        """Return (b, 1, height * scale, width * scale)."""
        return self._enlarged(inputs)

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the mean squared error of levels in [0, 1], shape ()."""
        return functional.mse_loss(output.float(), target)

    def batch_metric(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Return the PSNR in dB of the batch's mean squared error: output clamped to [0, 1], no border crop."""
        return -10 * torch.log10(_clamped_mse(output.float(), target))

    def evaluate(self, predict: Callable[[torch.Tensor], torch.Tensor], split: str) -> Evaluation:
        """Return means over a split's images: loss on the whole image, PSNR in dB without a border of `scale` pixels.

        An error that is not finite gives a loss and a metric that are not finite.
        """
        border, errors = self._scale, []
        for low, high in self._splits[split]:
            output = predict(low).float()
            inner = (..., slice(border, -border), slice(border, -border))
            errors.append(torch.stack([self.loss(output, high), _clamped_mse(output[inner], high[inner])]))
        losses, clamped = torch.stack(errors).cpu().double().unbind(1)  # read once: each read waits for the device
        psnr = -10 * torch.log10(clamped)
        return Evaluation(
            loss=losses.mean().item(),
            metric=psnr.mean().item(),
            top5=None,
            n=len(errors),
            correct=None,
            images=tuple(psnr.tolist()) if len(errors) <= FEW_IMAGES else None,
        )

    def trivial(self, split: str) -> Evaluation:
        """Evaluate the mean grey level of the training split's high-resolution pixels as a constant prediction."""
        levels = self._splits["train"].high
        grey = levels.sum(dtype=torch.int64).item() / (255 * levels.numel())
        return self.evaluate(lambda low: low.new_full((), grey).expand(self._enlarged(low)), split)

    def baselines(self, split: str) -> dict[str, float]:
        """Return the PSNR in dB of interpolation: bicubic (a = -0.5, as the reduction) and nearest neighbour."""

        def interpolate(mode: str, *, antialias: bool) -> float:
            def predict(low: torch.Tensor) -> torch.Tensor:
                return functional.interpolate(low, size=self._enlarged(low)[2:], mode=mode, antialias=antialias)

            return self.evaluate(predict, split).metric

        # when an image is enlarged, antialias only changes the kernel: a = -0.5 instead of torch's -0.75
        return {
            "bicubic": interpolate("bicubic", antialias=True),
            "nearest": interpolate("nearest", antialias=False),
        }

    def _enlarged(self, low: torch.Tensor) -> tuple[int, ...]:
        return (*low.shape[:2], low.shape[2] * self._scale, low.shape[3] * self._scale)


class _Planes:
    """The images of one split, on the device or the host; iterating gives (low, high) of each on the device."""

    def __init__(self, split: object, device: torch.device) -> None:
        if not isinstance(split, ImagePairs):
            raise TypeError(f"super-resolution needs ImagePairs, not {type(split).__name__}")
        size, free = split.low.nbytes + split.high.nbytes, residency.free_memory(device)
        self.stays = residency.stays_on_device(size, free=free, mapped=False)
        self._device = device
        place = device if self.stays else torch.device("cpu")
        self.low, self.high = as_tensor(split.low, place), as_tensor(split.high, place)
        self.low_shapes = as_tensor(split.low_shapes, place)
        self.low_starts = as_tensor(_starts(split.low_shapes), place)
        self.high_starts = as_tensor(_starts(split.high_shapes), place)
        self._shapes = [(*low, *high) for low, high in zip(split.low_shapes, split.high_shapes, strict=True)]

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        low_start = high_start = 0
        for low_height, low_width, height, width in self._shapes:
            low = self.low[low_start : low_start + low_height * low_width].reshape(1, 1, low_height, low_width)
            high = self.high[high_start : high_start + height * width].reshape(1, 1, height, width)
            low_start, high_start = low_start + low_height * low_width, high_start + height * width
            yield self._levels(low), self._levels(high)

    def _levels(self, plane: torch.Tensor) -> torch.Tensor:
        return moved(plane, self._device).to(torch.float32).div_(255)


def _starts(shapes: np.ndarray) -> np.ndarray:
    """Return the position of each image's first pixel in the flat array, int64 of shape (n,)."""
    sizes = shapes.prod(axis=1)
    return np.cumsum(sizes) - sizes


def _cut_out(flat: torch.Tensor, corners: torch.Tensor, widths: torch.Tensor, side: int) -> torch.Tensor:
    """Cut out square patches, shape (b, side, side).

    Args:
        flat: pixels of all images, one row after the other.
        corners: position of each patch's top left pixel in `flat`, shape (b,).
        widths: width of each patch's image, shape (b,).
        side: side of the patches in pixels.
    """
    rows = corners[:, None] + torch.arange(side, device=flat.device) * widths[:, None]
    return flat.unfold(0, side, 1)[rows]


def _clamped_mse(output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    return functional.mse_loss(output.clamp(0, 1), target).clamp(min=MIN_MSE)
