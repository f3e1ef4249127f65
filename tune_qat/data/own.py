"""A dataset of the user's own: a function by import path, called with the options that are not ours."""

import inspect
import traceback
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from tune_qat.config import TuneQatError, UsageError
from tune_qat.data.own_arrays import dataset_of
from tune_qat.data.spec import SPLITS, DatasetSpec
from tune_qat.data.task import Dataset
from tune_qat.data.tasks import users_part

DATA_DIR = "data_dir"
"""Parameter that gets the data folder, where the function has it."""


def load_own(spec: DatasetSpec, data_dir: Path | None, options: Mapping[str, Any]) -> Dataset:
    """Call the user's function, and return the dataset of what it gives.

    Raises:
        UsageError: it may not or cannot be imported, does not take an option, or gives what cannot be trained on.
        TuneQatError: it raises an error.
    """
    function = users_part(spec.name, "dataset")
    theirs = {name: value for name, value in options.items() if name not in spec.options}
    found = _called(function, spec, data_dir, theirs)
    if not isinstance(found, Dataset):
        return dataset_of(spec, options, found)
    if found.model_input.task != spec.task or set(found.splits) != set(SPLITS):
        raise UsageError(
            f"Dataset {spec.name!r} gives a Dataset for {found.model_input.task} with {', '.join(found.splits)}, but "
            f"the study's task is {spec.task}, and it needs {', '.join(SPLITS)}."
        )
    set_here = [name for name, default in spec.options.items() if options.get(name, default) != default]
    if set_here:
        raise UsageError(
            f"Option {set_here[0]!r} of dataset {spec.name!r} is for arrays and torch datasets, but the function "
            "gives a Dataset, which is taken as it is."
        )
    return replace(found, spec=spec, options={**theirs, **found.options})


def _called(function: Callable[..., Any], spec: DatasetSpec, data_dir: Path | None, options: dict[str, Any]) -> Any:
    try:
        signature = inspect.signature(function)
        given = {**options, DATA_DIR: data_dir} if DATA_DIR in signature.parameters else options
        signature.bind(**given)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"Dataset {spec.name!r} cannot be called with the options {sorted(options)}: {error}. Options of a dataset "
            f"are [workload.options] without those of tune-qat: {', '.join(spec.options)}."
        ) from None
    try:
        return function(**given)
    except TuneQatError:
        raise
    except Exception as error:  # whatever the user's code raises
        place = traceback.extract_tb(error.__traceback__)[-1]
        text = traceback.format_exception_only(error)[-1].strip()
        raise TuneQatError(f"Dataset {spec.name!r} failed: {text} ({place.filename}, line {place.lineno}).") from error
