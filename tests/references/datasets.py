"""Slow, plain twins of what `tune_qat.data` computes: one sample, one pixel, one formula at a time."""

import math
from collections.abc import Callable

import numpy as np
import torch

from tune_qat.data.spec import ImagePairs, LabelledImages
from tune_qat.data.task import Dataset

Predict = Callable[[torch.Tensor], torch.Tensor]


def labelled(dataset: Dataset, split: str) -> LabelledImages:
    found = dataset.splits[split]
    assert isinstance(found, LabelledImages)
    return found


def pairs(dataset: Dataset, split: str) -> ImagePairs:
    found = dataset.splits[split]
    assert isinstance(found, ImagePairs)
    return found


def images_of(pairs: ImagePairs) -> list[tuple[np.ndarray, np.ndarray]]:
    """The (low, high) uint8 planes of each image."""
    found, low_at, high_at = [], 0, 0
    for (low_height, low_width), (height, width) in zip(pairs.low_shapes, pairs.high_shapes, strict=True):
        low_end, high_end = low_at + low_height * low_width, high_at + height * width
        found.append(
            (
                pairs.low[low_at:low_end].reshape(low_height, low_width),
                pairs.high[high_at:high_end].reshape(height, width),
            )
        )
        low_at, high_at = low_end, high_end
    assert low_at == len(pairs.low) and high_at == len(pairs.high)
    return found


def psnr(output: np.ndarray, target: np.ndarray, border: int) -> float:
    """PSNR in dB at peak 1 of planes in [0, 1] without their border; at most 100."""
    height, width = target.shape
    total = 0.0
    for y in range(border, height - border):
        for x in range(border, width - border):
            total += (min(max(float(output[y, x]), 0.0), 1.0) - float(target[y, x])) ** 2
    mse = total / ((height - 2 * border) * (width - 2 * border))
    return -10 * math.log10(max(mse, 1e-10))


def evaluate_pairs(pairs: ImagePairs, predict: Predict, scale: int) -> tuple[float, float]:
    """(loss, PSNR): means over the images."""
    losses, scores = [], []
    for low, high in images_of(pairs):
        output = predict(torch.tensor(low / 255, dtype=torch.float32)[None, None])[0, 0].numpy()
        losses.append(float(np.mean((output.astype(np.float64) - high / 255) ** 2)))
        scores.append(psnr(output, high / 255, border=scale))
    return sum(losses) / len(losses), sum(scores) / len(scores)


def channel_statistics(images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each channel, in grey levels."""
    values = images.astype(np.float64)
    return values.mean((0, 2, 3)), values.std((0, 2, 3))


def is_among(scores: np.ndarray, label: int, best: int) -> bool:
    """Whether the label is among the best few: the classes put in order, NaN first, equal ones by their number."""
    order = sorted(range(len(scores)), key=lambda one: (not math.isnan(scores[one]), -scores[one], one))
    return label in order[:best] and not math.isnan(scores[label])


def evaluate_labelled(
    split: LabelledImages, predict: Predict, mean: np.ndarray, std: np.ndarray
) -> tuple[float, int, int]:
    """(mean cross-entropy, right answers, right answers among the best five), one image at a time."""
    loss, correct, in_top5 = 0.0, 0, 0
    for image, label in zip(split.images, split.labels, strict=True):
        normalised = (image.astype(np.float64) - mean[:, None, None]) / std[:, None, None]
        scores = predict(torch.tensor(normalised, dtype=torch.float32)[None])[0].double().numpy()
        loss += math.log(np.exp(scores - scores.max()).sum()) + scores.max() - scores[label]
        correct += int(is_among(scores, label, 1))
        in_top5 += int(is_among(scores, label, 5))
    return loss / len(split.labels), correct, in_top5
