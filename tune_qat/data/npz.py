"""A dataset in one .npz file: arrays train_inputs, train_targets, and the same of val and test."""

import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from tune_qat.config import TuneQatError
from tune_qat.config.lookup import wrong_option
from tune_qat.config.regular import check_regular
from tune_qat.data.own_arrays import dataset_of
from tune_qat.data.spec import SPLITS, DatasetSpec, data_folder_hint
from tune_qat.data.task import Dataset

KINDS = ("inputs", "targets")


def load_npz(spec: DatasetSpec, data_dir: Path | None, options: Mapping[str, Any]) -> Dataset:
    """Load the file `file` under the data folder, as data and never as code; other arrays in it are left alone.

    Raises:
        UsageError: its arrays cannot be trained on.
        TuneQatError: it is missing, or is no such file.
    """
    if Path(options["file"]).is_absolute() or ".." in Path(options["file"]).parts:
        raise wrong_option("dataset", spec.name, "file", "a path below the data folder", options["file"])
    path = data_dir / options["file"] if data_dir is not None else None
    if path is None or not path.exists():
        raise TuneQatError(data_folder_hint(spec, path))
    try:
        check_regular(path)
        with path.open("rb") as handle, np.load(handle, allow_pickle=False) as file:
            found = {name: file[name] for name in file.files if name in _NAMES}
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise TuneQatError(f"{path} cannot be read as an .npz file of plain arrays: {error}.") from error
    lone = [name for name in found if _other(name) not in found]
    if lone or "train_inputs" not in found:
        missing = [_other(name) for name in lone] or ["train_inputs", "train_targets"]
        raise TuneQatError(f"{path} lacks {', '.join(missing)}. Expected layout: {spec.layout}.")
    return dataset_of(
        spec,
        options,
        {
            split: (found[f"{split}_inputs"], found[f"{split}_targets"])
            for split in SPLITS
            if f"{split}_inputs" in found
        },
    )


_NAMES = {f"{split}_{kind}" for split in SPLITS for kind in KINDS}


def _other(name: str) -> str:
    split, _, kind = name.partition("_")
    return f"{split}_{'targets' if kind == 'inputs' else 'inputs'}"
