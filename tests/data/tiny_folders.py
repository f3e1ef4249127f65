"""Tiny data folders in the real layouts, written by the tests."""

import hashlib
import pickle
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torchvision import datasets

MNIST_TRAIN, MNIST_TEST = 120, 30
CIFAR_BATCH = 20
BREEDS = ("200-n000008-Airedale", "7449-n000128-teddy", "206-n000018-Lhasa")
DOGS_TRAIN, DOGS_TEST = 20, 4
"""Images of each breed."""
SYNSETS = ("n01440764", "n01443537", "n02102040")
IMAGENET_TRAIN, IMAGENET_TEST = 20, 4
"""Images of each class."""


def photograph(height: int, width: int, seed: int) -> np.ndarray:
    """A smooth colourful picture with a little noise, uint8 of shape (height, width, 3)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    waves = [np.sin(x * rng.uniform(0.05, 0.4) + y * rng.uniform(0.05, 0.4) + rng.uniform(0, 6)) for _ in range(3)]
    return (127 + 100 * np.stack(waves, -1) + rng.uniform(-10, 10, (height, width, 3))).round().astype(np.uint8)


def write_mnist(root: Path, name: str) -> None:
    """idx files as in the MNIST archive: a magic number, the shape, the bytes."""
    folder = root / name / "raw"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(3)
    for prefix, n in (("train", MNIST_TRAIN), ("t10k", MNIST_TEST)):
        images = rng.integers(0, 256, (n, 28, 28)).astype(np.uint8)
        labels = (np.arange(n) % 10).astype(np.uint8)
        _write_idx(folder / f"{prefix}-images-idx3-ubyte", images)
        _write_idx(folder / f"{prefix}-labels-idx1-ubyte", labels)


def _write_idx(path: Path, array: np.ndarray) -> None:
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">i4").tobytes()
    path.write_bytes(header + array.tobytes())


def write_cifar10(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The pickled batches of CIFAR-10; torchvision is told their checksums, which it verifies."""
    folder = root / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    rng = np.random.default_rng(4)
    sums = {}
    for name in [f"data_batch_{i}" for i in range(1, 6)] + ["test_batch"]:
        labels = (np.arange(CIFAR_BATCH) % 10).tolist()
        content = {"data": rng.integers(0, 256, (CIFAR_BATCH, 3072)).astype(np.uint8), "labels": labels}
        sums[name] = _write_pickle(folder / name, content)
    names = {"label_names": [f"class{i}" for i in range(10)]}
    monkeypatch.setattr(
        datasets.CIFAR10,
        "meta",
        datasets.CIFAR10.meta | {"md5": _write_pickle(folder / "batches.meta", names)},
    )
    monkeypatch.setattr(
        datasets.CIFAR10, "train_list", [[f"data_batch_{i}", sums[f"data_batch_{i}"]] for i in range(1, 6)]
    )
    monkeypatch.setattr(datasets.CIFAR10, "test_list", [["test_batch", sums["test_batch"]]])


def _write_pickle(path: Path, content: object) -> str:
    path.write_bytes(pickle.dumps(content))
    return hashlib.md5(path.read_bytes()).hexdigest()


def write_div2k(root: Path, *, n_train: int = 6, n_test: int = 2) -> None:
    """PNG files of different sizes, none a multiple of 3, numbered as in DIV2K."""
    for folder, first, n in (("DIV2K_train_HR", 1, n_train), ("DIV2K_valid_HR", 801, n_test)):
        (root / folder).mkdir(parents=True)
        for i in range(n):
            picture = photograph(73 + 2 * i, 97 - 4 * (i % 10), seed=first + i)
            Image.fromarray(picture).save(root / folder / f"{first + i:04}.png")


def write_tsinghua_dogs(root: Path) -> None:
    """JPEG files by breed, the two lists with their byte-order mark, and an annotation for each image."""
    lists: dict[str, list[str]] = {"train.lst": [], "validation.lst": []}
    for number, breed in enumerate(BREEDS):
        for folder in ("low-resolution", "Low-Annotations"):
            (root / folder / breed).mkdir(parents=True)
        for i in range(DOGS_TRAIN + DOGS_TEST):
            name = f"{breed}/n{number}{i:05}.jpg"
            picture = photograph(40 + i, 60 - i, seed=100 * number + i)
            Image.fromarray(picture).save(root / "low-resolution" / name)
            (root / "Low-Annotations" / f"{name}.xml").write_text(dog_annotation((5, 4, 25, 34)))
            lists["train.lst" if i < DOGS_TRAIN else "validation.lst"].append(f".//{name}")
    (root / "TrainAndValList").mkdir()
    for name, lines in lists.items():
        (root / "TrainAndValList" / name).write_text("\n".join(lines) + "\n", encoding="utf-8-sig")


def write_imagenet(root: Path) -> None:
    """JPEG files by class, colour and grey, under names as in the official archives."""
    for number, synset in enumerate(SYNSETS):
        for split, n in (("train", IMAGENET_TRAIN), ("val", IMAGENET_TEST)):
            folder = root / "imagenet" / split / synset
            folder.mkdir(parents=True)
            for i in range(n):
                picture = photograph(40 + i, 60 - i, seed=1000 * number + 2 * i + (split == "val"))
                name = f"{synset}_{i}.JPEG" if split == "train" else f"ILSVRC2012_val_{number * n + i:08}.JPEG"
                Image.fromarray(picture[..., 0] if i == 1 else picture).save(folder / name, format="JPEG")


def dog_annotation(*boxes: tuple[int, int, int, int]) -> str:
    """The XML of an image with a dog in each of these boxes (left, top, right, bottom)."""
    sides = ("xmin", "ymin", "xmax", "ymax")
    objects = [
        "<object><name>dog</name><bodybndbox>"
        + "".join(f"<{side}>{value}</{side}>" for side, value in zip(sides, box, strict=True))
        + "</bodybndbox></object>"
        for box in boxes
    ]
    return '<?xml version="1.0"?>\n<annotation>' + "".join(objects) + "</annotation>"
