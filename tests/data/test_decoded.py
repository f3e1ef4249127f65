"""`in_memory = false`: decoded once into files, and the same data in every respect."""

import os
import pickle
import subprocess
import sys
import threading
from collections import namedtuple
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from tests.data import tiny_folders
from tune_qat import data
from tune_qat.config import StudyHalted, TuneQatError
from tune_qat.data import decoding, tsinghua_dogs
from tune_qat.data.classification import Classification
from tune_qat.data.counter_rng import permutation
from tune_qat.data.mapped_images import MappedImages
from tune_qat.data.pixel_file import CACHE_VARIABLE
from tune_qat.data.prefetch import THREAD_NAME
from tune_qat.data.spec import SPLITS
from tune_qat.data.task import Dataset

torch.set_num_threads(1)
ALL, TRAIN, VAL, TEST = 72, 57, 3, 12
Usage = namedtuple("Usage", "total used free")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    root = tmp_path / "data"
    root.mkdir()
    tiny_folders.write_tsinghua_dogs(root)
    return root


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the image files as they are decoded."""
    names: list[str] = []

    def counted(path: Path) -> Image.Image:
        names.append(path.name)
        return real(path)

    real = decoding.open_rgb
    monkeypatch.setattr(tsinghua_dogs, "open_rgb", counted)
    return names


def load(folder: Path, **options: Any) -> Dataset:
    return data.load("tsinghua_dogs", data_dir=folder, options={"image_size": 16, "in_memory": False, **options})


def image_path(folder: Path, split: str = "train") -> Path:
    """One image of a split."""
    names = load(folder, in_memory=True).names
    assert names is not None
    return folder / "low-resolution" / names[split][1]


def predict(x: torch.Tensor) -> torch.Tensor:
    weight = torch.randn((3 * 16 * 16, 3), generator=torch.Generator().manual_seed(0))
    return x.flatten(1) @ weight / 10


@pytest.mark.parametrize("options", [{}, {"use_boxes": True}, {"augment": "none"}, {"train_limit": 20}], ids=str)
def test_everything_is_as_in_memory(folder: Path, options: dict[str, Any]) -> None:
    in_memory, on_disk = load(folder, in_memory=True, **options), load(folder, **options)
    assert (on_disk.fingerprint, on_disk.split_fingerprint) == (in_memory.fingerprint, in_memory.split_fingerprint)
    assert (on_disk.names, on_disk.sizes, on_disk.model_input) == (
        in_memory.names,
        in_memory.sizes,
        in_memory.model_input,
    )
    first, second = in_memory.task(), on_disk.task()
    assert isinstance(first, Classification) and isinstance(second, Classification)
    assert not first.prepares_ahead and second.prepares_ahead
    for seed, epoch in ((0, 1), (0, 2), (9, 1)):
        order = permutation(first.train_size, seed, epoch)
        for batches in zip(first.batches(seed, epoch, order, 8), second.batches(seed, epoch, order, 8), strict=True):
            assert all(torch.equal(a, b) and a.stride() == b.stride() for a, b in zip(*batches, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(first.statistics, second.statistics, strict=True))
    for split in SPLITS:
        assert first.evaluate(predict, split) == second.evaluate(predict, split)
        assert first.trivial(split) == second.trivial(split)


def test_a_second_load_decodes_nothing(folder: Path, decoded: list[str]) -> None:
    first = load(folder)
    assert len(decoded) == ALL
    assert load(folder).fingerprint == first.fingerprint
    assert len(decoded) == ALL


def test_only_the_splits_that_are_not_there_are_decoded(folder: Path, decoded: list[str]) -> None:
    load(folder)
    decoded.clear()
    load(folder, train_limit=20)
    assert len(decoded) == 20
    decoded.clear()
    load(folder, split_seed=1)
    assert len(decoded) == TRAIN + VAL
    decoded.clear()
    load(folder, augment="none")
    assert not decoded
    load(folder, image_size=17)
    assert len(decoded) == ALL
    load(folder)
    assert len(decoded) == ALL, "images of another size take no file away"


@pytest.mark.parametrize("split", ["train", "test"])
def test_a_replaced_image_decodes_its_split_again(folder: Path, decoded: list[str], split: str) -> None:
    path, before = image_path(folder, split), load(folder).fingerprint
    decoded.clear()
    Image.fromarray(tiny_folders.photograph(40, 50, seed=99)).save(path)
    after = load(folder)
    assert len(decoded) == {"train": TRAIN, "test": TEST}[split]
    assert after.fingerprint == load(folder, in_memory=True).fingerprint != before


def test_an_image_that_was_only_touched_is_decoded_again(folder: Path, decoded: list[str]) -> None:
    path, before = image_path(folder), load(folder).fingerprint
    decoded.clear()
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))
    assert load(folder).fingerprint == before
    assert len(decoded) == TRAIN


def test_a_changed_annotation_decodes_again_where_boxes_are_used(folder: Path, decoded: list[str]) -> None:
    path = image_path(folder)
    load(folder)
    boxed = load(folder, use_boxes=True).fingerprint
    annotation = folder / "Low-Annotations" / f"{path.relative_to(folder / 'low-resolution')}.xml"
    annotation.write_text(tiny_folders.dog_annotation((0, 0, 20, 20)))
    decoded.clear()
    load(folder)
    assert not decoded
    assert load(folder, use_boxes=True).fingerprint != boxed
    assert len(decoded) == TRAIN


@pytest.mark.parametrize("damage", [lambda content: content[:-1], lambda content: b"foreign", lambda content: b""])
def test_a_damaged_file_is_decoded_anew(folder: Path, cache: Path, decoded: list[str], damage: Any) -> None:
    before = load(folder).fingerprint
    for path in cache.iterdir():
        path.write_bytes(damage(path.read_bytes()))
    decoded.clear()
    after = load(folder)
    assert len(decoded) == ALL and after.fingerprint == before
    assert np.array_equal(pixels(after), pixels(load(folder, in_memory=True)))


def pixels(dataset: Dataset) -> np.ndarray:
    return np.concatenate([split.images for split in dataset.splits.values()])  # type: ignore[union-attr]


def test_corrupt_images_are_named_and_counted_as_in_memory(folder: Path, cache: Path) -> None:
    breed = folder / "low-resolution" / tiny_folders.BREEDS[1]
    (breed / "n100000.jpg").unlink()
    (breed / "n100021.jpg").write_bytes((breed / "n100021.jpg").read_bytes()[:200])
    messages = []
    for in_memory in (True, False):
        with pytest.raises(TuneQatError) as caught:
            load(folder, in_memory=in_memory)
        messages.append(str(caught.value))
    assert messages[0] == messages[1]
    assert "2 of 72 images cannot be read:" in messages[0]
    assert not list(cache.iterdir())


def test_too_little_room_is_found_before_anything_is_decoded(
    folder: Path, decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(10**6, 10**6 - 1000, 1000))
    with pytest.raises(TuneQatError, match=f"(?s)'tsinghua_dogs'.*GB free.*{CACHE_VARIABLE}"):
        load(folder)
    assert not decoded


def test_the_dataset_pickles_without_its_pixels(folder: Path) -> None:
    dataset = load(folder, image_size=100)
    task = dataset.task()
    x, _ = task.batch(0, 1, torch.arange(4))
    content = pickle.dumps(dataset)
    assert len(content) < 20_000 < 3 * 100 * 100 * ALL
    again = pickle.loads(content)
    assert torch.equal(again.task().batch(0, 1, torch.arange(4))[0], x)
    assert again.fingerprint == dataset.fingerprint


def test_on_a_machine_without_the_file_the_first_batch_says_so(folder: Path, cache: Path) -> None:
    dataset = pickle.loads(pickle.dumps(load(folder)))
    for path in cache.iterdir():
        path.unlink()
    task = dataset.task()
    with pytest.raises(StudyHalted, match=f"(?s)not on this machine.*{CACHE_VARIABLE}"):
        task.batch(0, 1, torch.arange(4))
    with pytest.raises(StudyHalted, match="not on this machine"):
        next(task.batches(0, 1, torch.arange(8), 4))


def test_training_pixels_are_mapped_not_copied(folder: Path) -> None:
    dataset = load(folder)
    task, split = dataset.task(), dataset.splits["train"]
    assert isinstance(task, Classification) and isinstance(split, MappedImages)
    assert task._split("train").inputs.data_ptr() == split.images.ctypes.data
    with open("/proc/self/maps") as maps:
        assert str(split.file.path) in maps.read()


def test_leaving_an_epoch_early_ends_the_thread(folder: Path) -> None:
    task = load(folder).task()
    for _ in task.batches(0, 1, torch.arange(TRAIN), 4):
        break
    assert not [thread for thread in threading.enumerate() if thread.name.startswith(THREAD_NAME)]


@pytest.mark.slow
def test_two_processes_that_decode_at_the_same_time_both_end_well(folder: Path, cache: Path) -> None:
    code = (
        "import sys, tune_qat.data.tsinghua_dogs; from tune_qat import data; print('ready', flush=True); "
        "sys.stdin.readline(); print(data.load('tsinghua_dogs', data_dir=sys.argv[1], "
        "options={'image_size': 16, 'in_memory': False}).fingerprint)"
    )
    command = [sys.executable, "-c", code, str(folder)]
    processes = [subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    for process in processes:
        assert process.stdout is not None and process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    found = [process.communicate(timeout=60)[0].strip() for process in processes]
    assert found == [load(folder, in_memory=True).fingerprint] * 2
    assert len(list(cache.iterdir())) == len(SPLITS)
