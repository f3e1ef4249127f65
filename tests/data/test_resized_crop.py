"""Random resized crops: pixels and boxes against torchvision's, and a function of seed, epoch and sample alone."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.transforms import InterpolationMode, RandomResizedCrop
from torchvision.transforms.functional import resized_crop

from tests.data import tiny_folders
from tests.data.tiny_folders import photograph
from tune_qat import data
from tune_qat.config import UsageError
from tune_qat.data import class_folders
from tune_qat.data.pixel_file import CACHE_VARIABLE
from tune_qat.data.resized_crop import RATIO, SCALE, TRIES, boxes, crops, resized, within
from tune_qat.data.task import Dataset

DRAWS = 20_000
WIDE = {"augment": "resized_crop", "image_size": 32}


def drawn(height: int, width: int, count: int = DRAWS, seed: int = 3) -> torch.Tensor:
    return boxes(torch.tensor([[height, width]]).expand(count, 2), torch.arange(count), seed, 1)


def theirs(height: int, width: int, count: int = DRAWS) -> torch.Tensor:
    image = torch.empty(1, height, width)
    with torch.random.fork_rng(devices=()):
        torch.manual_seed(5)
        found = [RandomResizedCrop.get_params(image, list(SCALE), list(RATIO)) for _ in range(count)]
    return torch.tensor(found)


@pytest.mark.parametrize("side", [16, 64])
@pytest.mark.parametrize("box", [[0, 0, 48, 60], [5, 7, 20, 31], [30, 2, 9, 12], [10, 10, 1, 1], [0, 30, 48, 30]])
def test_pixels_are_those_of_torchvision(box: list[int], side: int) -> None:
    image = torch.from_numpy(photograph(48, 60, 0).transpose(2, 0, 1).copy())
    expected = resized_crop(image, *box, [side, side], InterpolationMode.BILINEAR, antialias=True)
    found = resized(image, box, side)
    assert found.dtype == torch.uint8 and found.shape == (3, side, side)
    # torchvision resizes in float32, torch on bytes with weights of 16 bits and rounds after each axis: a level at
    # most, in a fifth of the pixels (seen), in either direction.
    difference = (found.int() - expected.int()).float()
    assert difference.abs().max() <= 1 and difference.abs().mean() < 0.3 and difference.mean().abs() < 0.15


# Ordinary shapes, an extreme one on which most tries fail, and one on which all do.
@pytest.mark.parametrize(("height", "width"), [(375, 500), (500, 375), (256, 256), (100, 400), (40, 400)])
def test_boxes_are_distributed_as_torchvisions(height: int, width: int) -> None:
    ours, expected = drawn(height, width, DRAWS), theirs(height, width, DRAWS // 4)
    assert (ours[:, :2] >= 0).all() and (ours[:, 2:] > 0).all()
    assert (ours[:, 0] + ours[:, 2] <= height).all() and (ours[:, 1] + ours[:, 3] <= width).all()
    for ours_of, theirs_of in zip(_features(ours), _features(expected), strict=True):
        # Kolmogorov-Smirnov's 99.9 % for these sample sizes; rounding to pixels only makes it smaller.
        limit = 1.95 * math.sqrt(1 / len(ours) + 1 / len(expected))
        assert _largest_gap(ours_of, theirs_of) < limit


def _features(found: torch.Tensor) -> list[np.ndarray]:
    """Areas, ratios and places of boxes."""
    top, left, high, wide = found.double().unbind(1)
    return [one.numpy() for one in (high * wide, wide / high, top, left)]


def _largest_gap(ours: np.ndarray, theirs_of: np.ndarray) -> float:
    points = np.union1d(ours, theirs_of)
    of_ours, of_theirs = (np.searchsorted(np.sort(one), points, "right") / len(one) for one in (ours, theirs_of))
    return float(np.abs(of_ours - of_theirs).max())


def test_the_gap_would_show_a_ratio_that_is_not_drawn_by_its_logarithm() -> None:
    expected = _features(theirs(256, 256, DRAWS // 4))[1]
    wrong = np.random.default_rng(0).uniform(*RATIO, DRAWS)
    assert _largest_gap(wrong, expected) > 1.95 * math.sqrt(1 / DRAWS + 4 / DRAWS)


@pytest.mark.parametrize(("height", "width"), [(10, 400), (400, 10)])
def test_without_a_box_that_fits_it_is_the_centre(height: int, width: int) -> None:
    expected = theirs(height, width, 50)
    assert len(expected.unique(dim=0)) == 1  # ten tries, in vain
    assert torch.equal(drawn(height, width, 50), expected)
    assert TRIES == 10


def test_whole_images_lose_their_proportions_and_boxes_with_them() -> None:
    size = torch.tensor([[100, 400]])
    assert within(torch.tensor([[0, 0, 100, 400]]), size, 64).tolist() == [[0, 0, 64, 64]]
    assert within(torch.tensor([[50, 100, 50, 200]]), size, 64).tolist() == [[32, 16, 32, 32]]
    assert within(torch.tensor([[99, 399, 1, 1]]), size, 64).tolist() == [[63, 63, 1, 1]]  # never without a pixel


def test_half_of_the_crops_are_mirrored() -> None:
    ramp = torch.arange(64, dtype=torch.uint8).expand(1, 3, 64, 64)
    index = torch.arange(1_000)
    found = crops(ramp.expand(1_000, -1, -1, -1), torch.full((1_000, 2), 64), index, 8, 0, 1)
    mirrored = (found[:, 0, 0, 0] > found[:, 0, 0, -1]).float().mean()
    assert 0.45 < mirrored < 0.55  # three deviations of 1,000 halves


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    root = tmp_path / "data"
    root.mkdir()
    tiny_folders.write_imagenet(root)
    return root


def loaded(folder: Path, **options: Any) -> Dataset:
    return data.load("imagenet", data_dir=folder, options={**WIDE, **options})


def test_crops_are_a_function_of_seed_epoch_and_sample(folder: Path) -> None:
    task = loaded(folder).task()
    order = torch.tensor([7, 2, 9, 4])
    whole, labels = task.batch(3, 2, order)
    assert whole.shape == (4, 3, 32, 32) and labels.shape == (4,)
    for place, sample in enumerate(order):
        assert torch.equal(task.batch(3, 2, sample[None])[0][0], whole[place])
    for other in ((4, 2), (3, 3)):
        assert not torch.equal(task.batch(*other, order)[0], whole)


def test_in_memory_and_in_files_it_is_the_same_data(folder: Path) -> None:
    kept, mapped = loaded(folder, in_memory=True), loaded(folder, in_memory=False)
    assert kept.fingerprint == mapped.fingerprint
    index = torch.arange(8)
    assert torch.equal(kept.task().batch(0, 1, index)[0], mapped.task().batch(0, 1, index)[0])


def test_files_are_found_again_and_are_no_others(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = data.load("imagenet", data_dir=folder, options={"image_size": 32})
    first = loaded(folder)
    assert plain.fingerprint != first.fingerprint and plain.split_fingerprint == first.split_fingerprint
    monkeypatch.setattr(class_folders, "open_rgb", lambda path: pytest.fail("decoded again"))
    assert loaded(folder).fingerprint == first.fingerprint
    assert data.load("imagenet", data_dir=folder, options={"image_size": 32}).fingerprint == plain.fingerprint


def test_without_the_sizes_images_are_decoded_again(folder: Path, tmp_path: Path) -> None:
    first = loaded(folder)
    (sizes,) = (tmp_path / "cache").glob("*.sizes.npy")
    sizes.unlink()
    assert loaded(folder).fingerprint == first.fingerprint and sizes.exists()


def test_evaluation_is_that_of_centre_squares(folder: Path) -> None:
    squares, cropped = data.load("imagenet", data_dir=folder, options={"image_size": 32}), loaded(folder)
    for split in ("val", "test"):
        assert np.array_equal(squares.splits[split].inputs, cropped.splits[split].inputs)  # type: ignore[union-attr]
    assert cropped.splits["train"].inputs.shape[2:] == (37, 37)  # type: ignore[union-attr]  # 8/7 of 32
    assert loaded(folder, decoded_size=48).splits["train"].inputs.shape[2:] == (48, 48)  # type: ignore[union-attr]
    assert cropped.model_input == squares.model_input


def test_a_crop_is_the_box_of_the_photograph(folder: Path) -> None:
    # Cut out of the file by torchvision, at the same boxes: what is left is the resolution of the decoded square.
    from PIL import Image

    dataset = loaded(folder, decoded_size=128, in_memory=True)
    split, index = dataset.splits["train"], torch.arange(6)
    sizes = torch.from_numpy(split.sizes)  # type: ignore[union-attr]
    found = crops(torch.from_numpy(split.inputs), sizes, index, 32, 0, 1)  # type: ignore[union-attr]
    paths = sorted((folder / "imagenet" / "train").glob("*/*"))
    files = [torch.from_numpy(np.asarray(Image.open(path).convert("RGB")).transpose(2, 0, 1).copy()) for path in paths]
    for crop, box, size in zip(found, boxes(sizes[:6], index, 0, 1).tolist(), sizes[:6].tolist(), strict=True):
        same_size = [file for file in files if list(file.shape[1:]) == size]
        cut = [resized_crop(file, *box, [32, 32], antialias=True) for file in same_size]
        both = [one for file in cut for one in (file, file.flip(-1))]
        assert min(float((crop.float() - one.float()).abs().mean()) for one in both) < 8  # of 255: sharpness


@pytest.mark.parametrize(
    ("dataset", "options", "message"),
    [
        ("cifar10", {"augment": "resized_crop"}, "'augment'.*one of none, crop_flip"),
        ("imagenet", {"decoded_size": 256}, "'decoded_size'.*0 without augment"),
        ("imagenet", {"augment": "resized_crop", "decoded_size": 100}, r"'decoded_size'.*image_size \(224\) or more"),
    ],
)
def test_options_that_do_not_go_together(dataset: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        data.resolve_options(data.get_spec(dataset), options)


def test_options_of_before_are_the_same() -> None:
    assert "decoded_size" not in data.resolve_options(data.get_spec("imagenet"), {})
    assert data.resolve_options(data.get_spec("imagenet"), WIDE | {"decoded_size": 64})["decoded_size"] == 64
