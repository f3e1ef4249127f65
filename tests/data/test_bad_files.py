"""Data that is not what it should be: labels that do not fit, and names of files that are none."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.data import tiny_folders
from tune_qat import data
from tune_qat.config import TuneQatError
from tune_qat.data.labelled import check_labels

RAW = Path("MNIST/raw")


def idx(path: Path, array: np.ndarray) -> None:
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, dtype=">i4").tobytes()
    path.write_bytes(header + array.astype(np.uint8).tobytes())


@pytest.mark.parametrize("part", ["train", "t10k"])
@pytest.mark.parametrize(
    ("images", "labels", "said"),
    [
        (300, [i % 10 for i in range(200)], "it has 300 images and 200 labels"),
        (200, [i % 10 for i in range(300)], "it has 200 images and 300 labels"),
        (20, [*range(10), *range(1, 11)], "labels are from 0 to 9, but that of image 19 is 10 (1 such in all)"),
        (20, [255] * 20, "labels are from 0 to 9, but that of image 0 is 255 (20 such in all)"),
    ],
    ids=["fewer labels", "more labels", "an eleventh class", "no class"],
)
def test_labels_that_do_not_fit_are_refused(
    tmp_path: Path, part: str, images: int, labels: list[int], said: str
) -> None:
    tiny_folders.write_mnist(tmp_path, "MNIST")
    idx(tmp_path / RAW / f"{part}-images-idx3-ubyte", np.zeros((images, 28, 28)))
    idx(tmp_path / RAW / f"{part}-labels-idx1-ubyte", np.array(labels))
    with pytest.raises(TuneQatError) as raised:
        data.load("mnist", data_dir=tmp_path)
    assert f"The files of dataset 'mnist' in {tmp_path / RAW} are incomplete or damaged: {said}" in str(raised.value)
    assert "get the data again" in str(raised.value)


def test_a_split_without_images_is_refused(tmp_path: Path) -> None:
    tiny_folders.write_mnist(tmp_path, "MNIST")
    idx(tmp_path / RAW / "train-images-idx3-ubyte", np.zeros((9, 28, 28)))
    idx(tmp_path / RAW / "train-labels-idx1-ubyte", np.arange(9))
    with pytest.raises(TuneQatError, match="Split 'val' of dataset 'mnist' cannot be trained on: it has no images"):
        data.load("mnist", data_dir=tmp_path)  # a tenth of nine images


@pytest.mark.parametrize("labels", [[0, -1], [0, 2], [0], [0, 1, 1]])
def test_the_rule_of_labels(labels: list[int]) -> None:
    check_labels(2, np.array([0, 1]), 2)
    with pytest.raises(ValueError):
        check_labels(2, np.array(labels), 2)


def imagenet(folder: Path) -> Path:
    tiny_folders.write_imagenet(folder)
    return next((folder / "imagenet/train").rglob("*.JPEG"))


def div2k(folder: Path) -> Path:
    tiny_folders.write_div2k(folder)
    return folder / "DIV2K_train_HR/0003.png"


def dogs(folder: Path, name: str = "low-resolution") -> Path:
    tiny_folders.write_tsinghua_dogs(folder)
    return next((folder / name).rglob("*.jpg*"))


def train_list(folder: Path) -> Path:
    dogs(folder)
    return folder / "TrainAndValList/train.lst"


def mnist(folder: Path) -> Path:
    tiny_folders.write_mnist(folder, "MNIST")
    return folder / RAW / "train-labels-idx1-ubyte"


PIPES: dict[str, tuple[str, Callable[[Path], Path], dict[str, object]]] = {
    "an image of ImageNet": ("imagenet", imagenet, {"image_size": 16}),
    "an image of ImageNet on disk": ("imagenet", imagenet, {"image_size": 16, "in_memory": False}),
    "an image of DIV2K": ("div2k", div2k, {}),
    "an image of a dog": ("tsinghua_dogs", dogs, {"image_size": 16}),
    "an annotation": (
        "tsinghua_dogs",
        lambda folder: dogs(folder, "Low-Annotations"),
        {"image_size": 16, "use_boxes": True},
    ),
    "a list": ("tsinghua_dogs", train_list, {"image_size": 16}),
    "labels": ("mnist", mnist, {}),
}  # fmt: skip


@pytest.mark.parametrize("kind", PIPES)
def test_a_pipe_in_place_of_a_file_keeps_nobody_waiting(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("TUNE_QAT_CACHE", str(tmp_path / "cache"))
    name, make, options = PIPES[kind]
    path = make(tmp_path)
    path.unlink()
    os.mkfifo(path)
    began = time.monotonic()
    with pytest.raises(TuneQatError, match="is no regular file, but a folder, a named pipe") as raised:
        data.load(name, data_dir=tmp_path, options=options)
    assert path.name in str(raised.value) and time.monotonic() - began < 30


def test_a_list_that_is_no_text_is_named(tmp_path: Path) -> None:
    path = train_list(tmp_path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TuneQatError, match=r"train\.lst cannot be read: 'utf-8' codec can't decode"):
        data.load("tsinghua_dogs", data_dir=tmp_path, options={"image_size": 16})
