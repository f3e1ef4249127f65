import math
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torchmetrics.functional.image import peak_signal_noise_ratio

from tests.references import datasets as reference
from tune_qat.data.spec import SUPER_RESOLUTION, ImagePairs, ModelInput
from tune_qat.data.super_resolution import SuperResolution
from tune_qat.data.table import DATASETS
from tune_qat.data.task import Dataset

torch.set_num_threads(1)
SCALE, PATCH, PER_IMAGE = 3, 4, 5
SHAPES = ((7, 9), (4, 12), (6, 4))
"""Low-resolution images; two are in one direction no larger than a patch."""


def pairs(seed: int) -> ImagePairs:
    """Noise, so that every patch is unlike every other."""
    rng = np.random.default_rng(seed)
    low_shapes = np.array(SHAPES, dtype=np.int64)
    high_shapes = low_shapes * SCALE
    return ImagePairs(
        low=rng.integers(0, 256, low_shapes.prod(1).sum()).astype(np.uint8),
        low_shapes=low_shapes,
        high=rng.integers(0, 256, high_shapes.prod(1).sum()).astype(np.uint8),
        high_shapes=high_shapes,
    )


def dataset(**options: Any) -> Dataset:
    return Dataset(
        spec=DATASETS["photos"],
        options={"scale": SCALE, "patch_size": PATCH, "patches_per_image": PER_IMAGE, **options},
        splits={"train": pairs(0), "val": pairs(1), "test": pairs(2)},
        fingerprint="",
        split_fingerprint="",
        names=None,
        model_input=ModelInput(task=SUPER_RESOLUTION, channels=1, height=None, width=None, classes=None, scale=SCALE),
    )


def patches() -> dict[bytes, tuple[int, int, int, bool, bool, bytes]]:
    """Low patch -> (image, top, left, mirrored, transposed, high patch), by cutting out every one."""
    found = {}
    for number, (low, high) in enumerate(reference.images_of(reference.pairs(dataset(), "train"))):
        for top in range(low.shape[0] - PATCH + 1):
            for left in range(low.shape[1] - PATCH + 1):
                one = low[top : top + PATCH, left : left + PATCH]
                side, y, x = PATCH * SCALE, top * SCALE, left * SCALE
                other = high[y : y + side, x : x + side]
                for mirrored in (False, True):
                    for transposed in (False, True):
                        a, b = (np.fliplr(p) if mirrored else p for p in (one, other))
                        a, b = (p.T if transposed else p for p in (a, b))
                        found[a.tobytes()] = (number, top, left, mirrored, transposed, b.tobytes())
    return found


def levels(patch: torch.Tensor) -> bytes:
    return (patch[0] * 255).round().to(torch.uint8).numpy().tobytes()


def test_patches_match_their_image_and_each_other_and_reach_everywhere() -> None:
    task, known = SuperResolution(dataset(), "cpu"), patches()
    assert task.train_size == len(SHAPES) * PER_IMAGE
    index = torch.arange(task.train_size)
    seen: Counter[tuple[int, int, int]] = Counter()
    turned: Counter[tuple[bool, bool]] = Counter()
    for epoch in range(60):
        x, y = task.batch(3, epoch, index)
        assert x.shape == (task.train_size, 1, PATCH, PATCH)
        assert y.shape == (task.train_size, 1, PATCH * SCALE, PATCH * SCALE)
        for i, low, high in zip(index.tolist(), x, y, strict=True):
            number, top, left, mirrored, transposed, expected_high = known[levels(low)]
            assert number == i // PER_IMAGE
            assert levels(high) == expected_high
            seen[number, top, left] += 1
            turned[mirrored, transposed] += 1
    places = [(h - PATCH + 1) * (w - PATCH + 1) for h, w in SHAPES]
    assert len(seen) == sum(places), "300 draws of each image reach each of its at most 24 places"
    assert all(180 < count < 270 for count in turned.values()) and len(turned) == 4  # 900 / 4, 3.5 standard errors


def test_evaluation_agrees_with_torchmetrics_and_a_plain_loop() -> None:
    data = dataset()
    task = SuperResolution(data, "cpu")

    def predict(low: torch.Tensor) -> torch.Tensor:
        return low.repeat_interleave(SCALE, 2).repeat_interleave(SCALE, 3) * 1.5 - 0.25

    result = task.evaluate(predict, "test")
    scores = []
    for low, high in reference.images_of(reference.pairs(data, "test")):
        output = predict(torch.tensor(low / 255, dtype=torch.float32)[None, None]).clamp(0, 1)
        inner = (..., slice(SCALE, -SCALE), slice(SCALE, -SCALE))
        target = torch.tensor(high / 255, dtype=torch.float32)[None, None]
        scores.append(peak_signal_noise_ratio(output[inner], target[inner], data_range=1.0).item())
    assert result.metric == pytest.approx(np.mean(scores), abs=1e-4)  # dB; torchmetrics answers in float32
    loss, psnr = reference.evaluate_pairs(reference.pairs(data, "test"), predict, SCALE)
    assert result.metric == pytest.approx(psnr, abs=1e-4)  # dB; float32 mean of some hundred squares
    assert result.loss == pytest.approx(loss, rel=1e-5)  # float32, as above
    assert result.n == len(SHAPES)
    assert result.images == pytest.approx(scores, abs=1e-4)  # dB, as above


def test_perfect_images_count_as_100_db() -> None:
    task = SuperResolution(dataset(), "cpu")
    targets = iter(reference.images_of(reference.pairs(dataset(), "val")))
    result = task.evaluate(lambda low: torch.tensor(next(targets)[1] / 255, dtype=torch.float32)[None, None], "val")
    assert result.metric == pytest.approx(100, abs=1e-4)  # dB; 1e-10 in float32
    assert result.loss == 0


def test_worst_metric_is_a_bound() -> None:
    data = dataset()
    reference.pairs(data, "val").high[:] = 0
    result = SuperResolution(data, "cpu").evaluate(
        lambda low: torch.full((1, 1, low.shape[2] * SCALE, low.shape[3] * SCALE), 1e30), "val"
    )
    assert result.metric == SuperResolution.worst_metric == 0.0
    assert result.loss == math.inf


def test_one_undefined_image_makes_the_evaluation_undefined() -> None:
    task = SuperResolution(dataset(), "cpu")
    seen = []

    def predict(low: torch.Tensor) -> torch.Tensor:
        seen.append(low)
        value = math.nan if len(seen) == 2 else 0.5
        return torch.full((1, 1, low.shape[2] * SCALE, low.shape[3] * SCALE), value)

    result = task.evaluate(predict, "val")
    assert math.isnan(result.loss) and math.isnan(result.metric)
    assert [math.isnan(value) for value in result.images or ()] == [False, True, False]


def test_batch_metric_is_the_psnr_of_the_batch() -> None:
    task = SuperResolution(dataset(), "cpu")
    output = torch.tensor([[[[0.5, 2.0]]], [[[0.0, -1.0]]]])
    target = torch.tensor([[[[0.4, 1.0]]], [[[0.2, 0.0]]]])
    expected = -10 * math.log10((0.1**2 + 0.2**2) / 4)
    assert task.batch_metric(output, target).item() == pytest.approx(expected, abs=1e-4)  # dB, float32
    assert task.loss(output, target).item() == pytest.approx((0.01 + 1 + 0.04 + 1) / 4, rel=1e-6)  # float32


def test_bicubic_baseline_is_that_of_pillow() -> None:
    data = dataset()
    smooth = [
        (200 * np.sin(np.linspace(0, 3, h))[:, None] * np.cos(np.linspace(0, 1, w))[None]).astype(np.uint8)
        for h, w in SHAPES
    ]
    reference.pairs(data, "val").low[:] = np.concatenate([image.ravel() for image in smooth])
    scores = []
    for low, high in reference.images_of(reference.pairs(data, "val")):
        size = (high.shape[1], high.shape[0])
        enlarged = np.asarray(Image.fromarray(low.astype(np.float32)).resize(size, Image.Resampling.BICUBIC))
        scores.append(reference.psnr(enlarged / 255, high / 255, SCALE))
    baselines = SuperResolution(data, "cpu").baselines("val")
    assert baselines["bicubic"] == pytest.approx(np.mean(scores), abs=1e-3)  # dB; two float32 implementations
    repeated = [
        reference.psnr(low.repeat(SCALE, 0).repeat(SCALE, 1) / 255, high / 255, SCALE)
        for low, high in reference.images_of(reference.pairs(data, "val"))
    ]
    assert baselines["nearest"] == pytest.approx(np.mean(repeated), abs=1e-4)  # dB, float32


def test_planes_are_shared_not_copied() -> None:
    data = dataset()
    planes = SuperResolution(data, "cpu")._splits["train"]
    assert planes.low.data_ptr() == reference.pairs(data, "train").low.ctypes.data
    assert planes.high.data_ptr() == reference.pairs(data, "train").high.ctypes.data
