"""What is wrong with a study on its data, its folder or its model, found before anything is started."""

import os
from pathlib import Path

import torch

from tune_qat.config import TuneQatError, UsageError
from tune_qat.quantization.model import quantize
from tune_qat.results.reader import check_version, read_rows
from tune_qat.storage.paths import StoragePath
from tune_qat.storage.probe import probe
from tune_qat.study import Study
from tune_qat.training import workload
from tune_qat.training.workload import Workload


def check_results_folder(results: StoragePath) -> None:
    """Check that the folder can be written to, or made, and holds no other schema version, before anything starts."""
    if isinstance(results, Path):
        existing = next(path for path in (results, *results.parents) if path.exists())
        if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
            why = "is no folder" if not existing.is_dir() else "cannot be written to"
            raise TuneQatError(f"--results {results}: {existing} {why}. Name another folder.")
    else:
        with probe(results):
            pass
    try:
        check_version(results)
    except UsageError:
        raise
    except TuneQatError:
        pass  # a damaged file, which is set aside


def check_same_study(study: Study, work: Workload, results: StoragePath) -> None:
    """`UsageError` if the results folder holds a study of this name on other data, splits or metric."""
    for arm in read_rows(results, "arms", study.name)[:1]:
        now = {
            "model": work.model,
            "dataset": work.dataset.spec.name,
            "data_fingerprint": work.dataset.fingerprint,
            "split_fingerprint": work.dataset.split_fingerprint,
            "metric": work.dataset.spec.metric,
        }
        for name, value in now.items():
            if arm[name] != value:
                raise UsageError(
                    f"{results} already holds a study {study.name!r} with another {name.replace('_', ' ')} "
                    f"({arm[name]}, now {value}). Give this one another name, or use another --results folder."
                )


def check_batch_sizes(study: Study, work: Workload) -> None:
    """`UsageError` for a batch size that an epoch of the data does not fill."""
    largest = max(study.space.batch_size.high, study.pretrain.batch_size if study.pretrain else 1)
    train_size = work.task().train_size
    if largest > train_size:
        raise workload.batch_too_large(largest, train_size, work.dataset.spec.name)


def check_schemes(study: Study, work: Workload) -> None:
    """`UsageError` for a scheme that the model cannot be quantized with, such as a named layer that it lacks."""
    example, _ = work.task().batch(0, 1, torch.arange(1))
    for scheme in study.schemes:
        quantize(work.build_model(init_seed=0), scheme, example)
