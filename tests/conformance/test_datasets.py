"""Every dataset of the table against `DatasetConformance`; those in folders on tiny ones in the real layouts."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conformance.datasets import DatasetConformance
from tests.data import tiny_folders
from tune_qat.data.pixel_file import CACHE_VARIABLE
from tune_qat.data.table import DATASETS


class TestPhotos(DatasetConformance):
    name = "photos"


class TestDigits(DatasetConformance):
    name = "digits"


class TestMnist(DatasetConformance):
    name = "mnist"

    @pytest.fixture(scope="class")
    @classmethod
    def data_dir(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        root = tmp_path_factory.mktemp("mnist")
        tiny_folders.write_mnist(root, "MNIST")
        return root


class TestFashionMnist(DatasetConformance):
    name = "fashion_mnist"

    @pytest.fixture(scope="class")
    @classmethod
    def data_dir(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        root = tmp_path_factory.mktemp("fashion_mnist")
        tiny_folders.write_mnist(root, "FashionMNIST")
        return root


class TestCifar10(DatasetConformance):
    name = "cifar10"

    @pytest.fixture(scope="class")
    @classmethod
    def data_dir(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
        root = tmp_path_factory.mktemp("cifar10")
        with pytest.MonkeyPatch.context() as monkeypatch:
            tiny_folders.write_cifar10(root, monkeypatch)
            yield root


class TestDiv2k(DatasetConformance):
    name = "div2k"

    @pytest.fixture(scope="class")
    @classmethod
    def data_dir(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        root = tmp_path_factory.mktemp("div2k")
        tiny_folders.write_div2k(root)
        return root


class TestTsinghuaDogs(DatasetConformance):
    name = "tsinghua_dogs"
    options = {"image_size": 24}

    @pytest.fixture(scope="class")
    @classmethod
    def data_dir(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        root = tmp_path_factory.mktemp("tsinghua_dogs")
        tiny_folders.write_tsinghua_dogs(root)
        return root


class TestTsinghuaDogsWithBoxes(TestTsinghuaDogs):
    options = {"image_size": 24, "use_boxes": True}


class TestTsinghuaDogsOnDisk(TestTsinghuaDogs):
    options = {"image_size": 24, "in_memory": False}

    @pytest.fixture(scope="class", autouse=True)
    @classmethod
    def cache(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
        with pytest.MonkeyPatch.context() as monkeypatch:
            monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path_factory.mktemp("cache")))
            yield


class TestImagenet(DatasetConformance):
    name = "imagenet"
    options = {"image_size": 24, "in_memory": True}

    @pytest.fixture(scope="class")
    @classmethod
    def data_dir(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        root = tmp_path_factory.mktemp("imagenet")
        tiny_folders.write_imagenet(root)
        return root


class TestFolder(DatasetConformance):
    name = "folder"
    options = {"image_size": 24, "in_memory": True, "augment": "crop_flip"}

    @pytest.fixture(scope="class")
    @classmethod
    def data_dir(cls, tmp_path_factory: pytest.TempPathFactory) -> Path:
        root = tmp_path_factory.mktemp("folder")
        tiny_folders.write_imagenet(root)
        (root / "imagenet" / "val").rename(root / "imagenet" / "test")
        return root / "imagenet"


def test_every_dataset_has_its_conformance_class() -> None:
    # npz holds arrays of any kind, which are no images: tests/data/test_npz_and_folder.py and test_own_arrays.py.
    assert {subclass.name for subclass in DatasetConformance.__subclasses__()} == set(DATASETS) - {"npz"}
