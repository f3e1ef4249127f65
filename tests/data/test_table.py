import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.data import tiny_folders
from tune_qat import data
from tune_qat.config import TuneQatError, UsageError
from tune_qat.config.lookup import Table
from tune_qat.data.spec import DatasetSpec
from tune_qat.data.table import DATASETS


def test_table_is_free_of_torch() -> None:
    code = "import sys, tune_qat.data as d; d.resolve_options(d.get_spec('mnist'), {}); print('torch' in sys.modules)"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


def test_a_name_twice_in_the_table_is_refused() -> None:
    spec = DatasetSpec(name="a", task="classification", summary="", loader="")
    with pytest.raises(ValueError, match="twice"):
        Table("dataset", [spec, spec])


def test_unknown_dataset_lists_the_names_and_the_closest() -> None:
    with pytest.raises(UsageError, match="Unknown dataset 'fashion-mnist'.*mean 'fashion_mnist'.*photos, .*cifar10"):
        data.get_spec("fashion-mnist")


def test_options_are_resolved_over_the_defaults() -> None:
    spec = data.get_spec("photos")
    defaults = {name: value for name, value in spec.options.items() if name != "val_seed"}
    assert data.resolve_options(spec, {}) == data.resolve_options(spec, {"val_seed": 0}) == defaults
    assert data.resolve_options(spec, {"scale": 2}) == {**defaults, "scale": 2}
    assert data.resolve_options(spec, {"val_seed": 2}) == {**defaults, "val_seed": 2}


def test_whole_number_will_do_for_a_fraction() -> None:
    spec = DatasetSpec(name="a", task="classification", summary="", loader="", options={"share": 0.5})
    resolved = data.resolve_options(spec, {"share": 1})["share"]
    assert resolved == 1.0 and isinstance(resolved, float)
    with pytest.raises(UsageError, match="'share'.*'a'.*a number.*'half'"):
        data.resolve_options(spec, {"share": "half"})


@pytest.mark.parametrize(
    ("dataset", "option", "value", "allowed"),
    [
        ("photos", "scale", 1, "a whole number of at least 2"),
        ("photos", "scale", "3", "a whole number of at least 2"),
        ("photos", "scale", 3.0, "a whole number of at least 2"),
        ("photos", "patch_size", True, "a whole number of at least 1"),
        ("digits", "split_seed", -1, "a whole number of at least 0"),
        ("digits", "augment", "rotate", "one of none, crop_flip"),
        ("digits", "augment", ["none"], "one of none, crop_flip"),
        ("tsinghua_dogs", "use_boxes", 1, "true or false"),
    ],
)
def test_wrong_value_is_refused_with_what_is_allowed(dataset: str, option: str, value: Any, allowed: str) -> None:
    with pytest.raises(UsageError) as caught:
        data.load(dataset, options={option: value})
    assert str(caught.value) == f"Option {option!r} of dataset {dataset!r} must be {allowed}, but got {value!r}."


def test_unknown_option_is_refused_with_the_options_there_are() -> None:
    with pytest.raises(UsageError, match=r"'photos' has no option 'patch'..*'patch_size'.*split_seed"):
        data.load("photos", options={"patch": 9})


@pytest.mark.parametrize("name", [spec.name for spec in DATASETS.values() if spec.layout])
def test_missing_folder_says_where_what_and_how(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec = data.get_spec(name)
    with pytest.raises(TuneQatError) as caught:
        data.load(name, data_dir=tmp_path)
    text = str(caught.value)
    assert f"looked for {tmp_path}" in text and spec.layout in text
    assert spec.how_to_get.replace("--data-dir DATA_DIR", f"--data-dir {tmp_path}") in text
    monkeypatch.delenv(data.DATA_DIR_VARIABLE, raising=False)
    with pytest.raises(TuneQatError, match="no data folder was given"):
        data.load(name)


def test_data_folder_comes_from_the_argument_or_else_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tiny_folders.write_mnist(tmp_path / "here", "MNIST")
    monkeypatch.setenv(data.DATA_DIR_VARIABLE, str(tmp_path / "here"))
    assert data.load("mnist").sizes["test"] == tiny_folders.MNIST_TEST
    with pytest.raises(TuneQatError, match="elsewhere"):
        data.load("mnist", data_dir=tmp_path / "elsewhere")
    monkeypatch.setenv(data.DATA_DIR_VARIABLE, str(tmp_path / "elsewhere"))
    assert data.load("mnist", data_dir=str(tmp_path / "here")).sizes["test"] == tiny_folders.MNIST_TEST


def test_the_argument_then_the_variable_then_the_default_names_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def looked_for(**folders: Any) -> str:
        with pytest.raises(TuneQatError) as error:
            data.load("div2k", **folders)
        return str(error.value)

    monkeypatch.delenv("TUNE_QAT_DATA", raising=False)
    first, second, third = (tmp_path / name for name in ("first", "second", "third"))
    assert str(third) in looked_for(default_data_dir=third)
    monkeypatch.setenv("TUNE_QAT_DATA", str(second))
    assert str(second) in looked_for(default_data_dir=third)
    assert str(first) in looked_for(data_dir=first, default_data_dir=third)
