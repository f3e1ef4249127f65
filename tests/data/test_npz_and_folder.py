"""The two lines of the table that hold whatever a user has: arrays of an .npz file, images in class folders."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.data.own_data import arrays, made
from tune_qat import data
from tune_qat.config import TuneQatError, UsageError


def write_npz(path: Path, **more: Any) -> None:
    inputs, targets = arrays(60)
    test, answers = arrays(9, seed=1)
    values = {"train_inputs": inputs, "train_targets": targets, "test_inputs": test, "test_targets": answers, **more}
    np.savez(path, **{name: value for name, value in values.items() if value is not None})


class TestNpz:
    def test_is_as_own_arrays_are(self, tmp_path: Path) -> None:
        write_npz(tmp_path / "data.npz", notes=np.arange(3))
        found = data.load("npz", data_dir=tmp_path)
        own = made({"train": arrays(60), "test": arrays(9, seed=1)})
        assert found.sizes == own.sizes == {"train": 54, "val": 6, "test": 9}
        assert found.split_fingerprint == own.split_fingerprint and found.model_input == own.model_input
        assert np.array_equal(found.splits["val"].inputs, own.splits["val"].inputs)  # type: ignore[union-attr]

    def test_another_file_and_another_task(self, tmp_path: Path) -> None:
        inputs, targets = arrays(60)
        np.savez(tmp_path / "other.npz", train_inputs=inputs, train_targets=targets / 3)
        found = data.load("npz", data_dir=tmp_path, options={"file": "other.npz"}, task="regression")
        assert (found.spec.task, found.spec.metric, found.model_input.classes) == ("regression", "r2", 1)

    def test_objects_are_never_unpickled(self, tmp_path: Path) -> None:
        planted = tmp_path / "planted"

        class Hostile:
            def __reduce__(self) -> Any:
                return Path.touch, (planted,)

        write_npz(tmp_path / "data.npz", train_inputs=np.array([Hostile()] * 60, dtype=object))
        with pytest.raises(TuneQatError, match="cannot be read as an .npz file of plain arrays"):
            data.load("npz", data_dir=tmp_path)
        assert not planted.exists()

    @pytest.mark.parametrize(
        ("changes", "text"),
        [
            ({"train_inputs": None}, "lacks train_inputs.*Expected layout"),
            ({"test_targets": None}, "lacks test_targets"),
            ({"train_targets": np.arange(59) % 3}, "60 inputs and 59 targets"),
        ],
    )
    def test_what_is_missing_is_named(self, tmp_path: Path, changes: dict[str, Any], text: str) -> None:
        write_npz(tmp_path / "data.npz", **changes)
        with pytest.raises(TuneQatError, match=text):
            data.load("npz", data_dir=tmp_path)

    def test_a_damaged_or_absolute_file_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / "data.npz").write_bytes(b"PK\x03\x04 no archive")
        with pytest.raises(TuneQatError, match="cannot be read as an .npz file"):
            data.load("npz", data_dir=tmp_path)
        with pytest.raises(UsageError, match="'file' of dataset 'npz' must be a path below the data folder"):
            data.load("npz", data_dir=tmp_path, options={"file": str(tmp_path / "data.npz")})


def write_images(folder: Path, n: int, first: int = 0) -> None:
    for name, grey in (("cat", 50), ("dog", 200)):
        (folder / name).mkdir(parents=True)
        for number in range(n):
            Image.new("RGB", (20, 24), (grey, grey, (first + number) % 256)).save(folder / name / f"{number}.png")


class TestFolder:
    OPTIONS = {"image_size": 16, "in_memory": True}

    def test_val_is_cut_from_train_or_that_of_the_folder(self, tmp_path: Path) -> None:
        write_images(tmp_path / "train", 10)
        found = data.load("folder", data_dir=tmp_path, options=self.OPTIONS)
        assert found.sizes == {"train": 18, "val": 2} and found.model_input.classes == 2
        write_images(tmp_path / "val", 3, first=100)
        write_images(tmp_path / "test", 4, first=200)
        whole = data.load("folder", data_dir=tmp_path, options=self.OPTIONS)
        assert whole.sizes == {"train": 20, "val": 6, "test": 8}
        assert whole.fingerprint != found.fingerprint and whole.task().trivial("test").metric == 0.5
        with pytest.raises(UsageError, match="'val_seed' draws validation samples anew, but .*/val gives them"):
            data.load("folder", data_dir=tmp_path, options={**self.OPTIONS, "val_seed": 1})

    def test_splits_have_the_same_classes(self, tmp_path: Path) -> None:
        write_images(tmp_path / "train", 5)
        write_images(tmp_path / "test", 2)
        (tmp_path / "test" / "cat").rename(tmp_path / "test" / "bird")
        with pytest.raises(TuneQatError, match="test lacks classes that train has: cat"):
            data.load("folder", data_dir=tmp_path, options=self.OPTIONS)
