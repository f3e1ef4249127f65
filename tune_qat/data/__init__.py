"""Datasets by name: their options, and how one is loaded. Free of torch: a loader is imported when it is called."""

import json
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tune_qat.config import UsageError
from tune_qat.config.lookup import check_options, resolve, wrong_option
from tune_qat.config.shown import shown
from tune_qat.data.spec import CLASSIFICATION, SUPER_RESOLUTION, DatasetSpec, ModelInput
from tune_qat.data.table import DATASETS, LATER, RESIZED_CROP, of_arrays
from tune_qat.data.task import Dataset, task_class
from tune_qat.data.tasks import TASKS, is_users, metric_name

DATA_DIR_VARIABLE = "TUNE_QAT_DATA"
MINIMUM = {
    "split_seed": 0,
    "train_limit": 0,
    "subset_seed": 0,
    "val_seed": 0,
    "scale": 2,
    "patch_size": 1,
    "patches_per_image": 1,
    "evaluation_crop": 0,
    "image_size": 16,
    "decoded_size": 0,
}
"""Smallest value of each integer option."""
CHOICES = {"augment": ("none", "crop_flip", RESIZED_CROP)}
"""Allowed values of each option that is a word; the last one where images are decoded larger (`decoded_size`)."""


def get_spec(name: str, task: str = "") -> DatasetSpec:
    """Find a dataset of the table, or describe one of the user's own, which is not imported for that.

    `task` is that of a study, empty for the dataset's own: of arrays any, of labelled images one of the user's.

    Raises:
        UsageError: an unknown dataset or task, or a task that the dataset is not for.
    """
    spec = _own_spec(name) if is_users(name, "dataset", DATASETS) else DATASETS.get_spec(name)
    if task in ("", spec.task):
        return spec
    metric = metric_name(task)
    fits = spec.own or (task != SUPER_RESOLUTION if spec.any_task else not metric and spec.task == CLASSIFICATION)
    if not fits:
        raise UsageError(
            f"Dataset {name!r} is for {spec.task.replace('_', '-')}, but task is {shown(task)}. Leave workload.task out"
            + (", or name a class of your own." if spec.task == CLASSIFICATION else ".")
        )
    return replace(spec, task=task, metric=metric)


def _own_spec(name: str) -> DatasetSpec:
    return DatasetSpec(
        name=name,
        task=CLASSIFICATION,
        summary="a function of the user's",
        loader="tune_qat.data.own:load_own",
        options=of_arrays(),
        any_task=True,
        own=True,
    )


def resolve_options(spec: DatasetSpec, given: Mapping[str, Any]) -> dict[str, Any]:
    """Resolve every option of the dataset: what was given over the defaults, in the defaults' types and order.

    An option of `LATER` is left out at its default.

    Raises:
        UsageError: an option that the dataset does not have, or a value of another type or out of range.
    """
    if not spec.own:
        check_options("dataset", spec.name, given, spec.options)
    found = {key: _checked(spec, key, given.get(key, default)) for key, default in spec.options.items()}
    _check_crops(spec, found)
    found |= {key: _plain(spec, key, value) for key, value in given.items() if key not in spec.options}
    return {key: value for key, value in found.items() if key not in LATER or value != spec.options[key]}


def _check_crops(spec: DatasetSpec, found: Mapping[str, Any]) -> None:
    """Raise `UsageError` for a size of whole images that nothing is cut out of, or that is below the crops'."""
    size = found.get("decoded_size", 0)
    if size and found["augment"] != RESIZED_CROP:
        raise wrong_option("dataset", spec.name, "decoded_size", f'0 without augment = "{RESIZED_CROP}"', size)
    if size and size < found["image_size"]:
        raise wrong_option("dataset", spec.name, "decoded_size", f"image_size ({found['image_size']}) or more", size)


def known_input(name: str, options: Mapping[str, Any]) -> ModelInput | None:
    """Return the input of models as the table knows it, without the files: the number of classes is a stand-in."""
    spec, given = get_spec(name), resolve_options(get_spec(name), options)
    if spec.image is None:
        return None
    channels, side = spec.image
    pixels = given[side] if isinstance(side, str) else side
    return ModelInput(
        task=spec.task, channels=channels, height=pixels, width=pixels, classes=10, scale=given.get("scale")
    )


def load(
    name: str,
    *,
    data_dir: str | Path | None = None,
    default_data_dir: str | Path | None = None,
    options: Mapping[str, Any] | None = None,
    task: str = "",
) -> Dataset:
    """Load a dataset into memory, or with its option `in_memory` false into files that are mapped into memory.

    Args:
        name: a name of the table.
        data_dir: the data folder; if None, that of the variable TUNE_QAT_DATA. Built-in data needs none.
        default_data_dir: the data folder if neither of them names one.
        options: options that differ from the dataset's defaults.
        task: task in place of the dataset's own.

    Raises:
        UsageError: an unknown dataset, task or option, a value that the option does not take, or data of the user's
            that cannot be trained on.
        TuneQatError: the data is missing or cannot be read.
    """
    spec = get_spec(name, task)
    if is_users(spec.task, "task", TASKS):
        spec = replace(spec, metric=task_class(spec.task).metric)
    resolved, folder = resolve_options(spec, options or {}), data_folder(data_dir, default_data_dir)
    if spec.any_task:
        found: Dataset = resolve(spec.loader)(spec, folder, resolved)
        return found
    dataset: Dataset = resolve(spec.loader)(folder, **resolved)
    return dataset if dataset.spec == spec else dataset.for_task(spec)


def check_present(
    name: str, *, data_dir: str | Path | None = None, default_data_dir: str | Path | None = None
) -> Path | None:
    """Return the data folder in which `load` would find a dataset; None for data that comes with a library.

    Nothing is read.

    Raises:
        UsageError: an unknown dataset.
        TuneQatError: a folder of the dataset is missing.
    """
    from tune_qat.data.folders import require

    spec, folder = get_spec(name), data_folder(data_dir, default_data_dir)
    for alternatives in spec.folders:
        require(spec, folder, *alternatives)
    return folder if spec.folders else None


def data_folder(data_dir: str | Path | None, default: str | Path | None = None) -> Path | None:
    """Return the data folder: the one given, else that of the variable TUNE_QAT_DATA, else the default."""
    folder = data_dir or os.environ.get(DATA_DIR_VARIABLE) or default
    return Path(folder).expanduser() if folder else None


def _checked(spec: DatasetSpec, key: str, value: Any) -> Any:
    """Take a value in its option's type. A whole number will do for a fraction; a truth value is no number."""
    kind = type(spec.options[key])
    if kind is float and type(value) is int:
        value = float(value)
    choices = [one for one in CHOICES.get(key, ()) if one != RESIZED_CROP or "decoded_size" in spec.options]
    allowed = f"one of {', '.join(choices)}" if choices else _range_text(kind, MINIMUM.get(key))
    fits = type(value) is kind and (not choices or value in choices)
    if not fits or (key in MINIMUM and value < MINIMUM[key]):
        raise wrong_option("dataset", spec.name, key, allowed, value)
    return value


def _plain(spec: DatasetSpec, key: str, value: Any) -> Any:
    """Take an option of the user's function: whatever JSON can hold, as it is part of a trial's key."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError):
        allowed = "text, a number, true or false, or a list or table of these"
        raise wrong_option("dataset", spec.name, key, allowed, value) from None


def _range_text(kind: type, minimum: int | None) -> str:
    text = {bool: "true or false", int: "a whole number", float: "a number", str: "text"}[kind]
    return text if minimum is None else f"{text} of at least {minimum}"
