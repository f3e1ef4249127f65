"""Checks of a study against its data, results folder and model, before Ray is started."""

import errno
import os
import tempfile
from pathlib import Path

import torch
from torch import nn

from tune_qat.config import NotRead, TuneQatError, UsageError
from tune_qat.config.shown import shown
from tune_qat.quantization.model import quantize
from tune_qat.results.reader import check_version, read_rows
from tune_qat.storage.paths import StoragePath
from tune_qat.storage.probe import probe
from tune_qat.study import Study
from tune_qat.study.mixed import stand_in
from tune_qat.training import batch_norm, formats, micro_batches, workers, workload
from tune_qat.training.device import default_device
from tune_qat.training.workload import Workload
from tune_qat.tuning.mixed import choices
from tune_qat.tuning.plan import DataDraws

FULL = (errno.ENOSPC, errno.EDQUOT)


def check_results_folder(results: StoragePath) -> None:
    """Check that the folder can be written to or created, and that it holds no other schema version."""
    if isinstance(results, Path):
        existing = next(path for path in (results, *results.parents) if path.exists())
        if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
            why = "is not a folder" if not existing.is_dir() else "cannot be written to"
            raise TuneQatError(f"--results {results}: {existing} {why}. Name another folder.")
        _check_takes_folders(results, existing)
    else:
        with probe(results):
            pass
    try:
        check_version(results)
    except (UsageError, NotRead):
        raise
    except TuneQatError:
        pass  # a damaged file: `repair` sets it aside later


def _check_takes_folders(results: Path, existing: Path) -> None:
    """Raise `TuneQatError` where no folder can be made, as in /proc, whoever asks; nothing is left behind."""
    try:
        os.rmdir(tempfile.mkdtemp(prefix=".probe-", dir=existing))
    except OSError as error:
        if error.errno not in FULL:  # a full disk is waited for
            cause = error.strerror or error
            raise TuneQatError(f"--results {results} cannot be written to: {cause}. Name another folder.") from None


def check_same_study(study: Study, works: DataDraws[Workload], results: StoragePath) -> None:
    """Raise `UsageError` if the folder holds a study of this name with another model, data, split or metric."""
    recorded = {arm["repeat"]: arm for arm in read_rows(results, "arms", study.name)}
    for repeat in set(study.repeat_numbers) & recorded.keys():
        arm, work = recorded[repeat], works.of(study.data_options(repeat))
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


def check_task(study: Study, work: Workload) -> None:
    """Raise `UsageError` where the study judges by another metric than its task's, or retrains without test data."""
    metric, spec = work.task().metric, work.dataset.spec
    if study.judgement.metric != metric:
        raise UsageError(
            f"judgement.metric must be {metric!r}, the metric of task {spec.task!r}, but got "
            f"{shown(study.judgement.metric)}."
        )
    if study.stages.retrain and "test" not in work.dataset.splits:
        raise UsageError(
            f"Dataset {spec.name!r} has no test split, which stages.retrain = {study.stages.retrain} needs: the trials "
            "of that stage are tested. Give one, or set stages.retrain = 0."
        )


def check_batch_sizes(study: Study, work: Workload) -> None:
    """Raise `UsageError` for a batch size, or batches to calibrate on, above the number of training samples."""
    largest = max(study.space.batch_size.high, study.pretrain.batch_size if study.pretrain else 1)
    train_size = work.task().train_size
    if largest > train_size:
        raise workload.batch_too_large(largest, train_size, work.dataset.spec.name)
    workload.check_calibration(
        study.training.calibration_batches, study.space.batch_size.high, train_size, work.dataset.spec.name
    )


def check_batches_of_one(study: Study, work: Workload | None = None) -> None:
    """Raise `UsageError` where a training batch of one is too small for a layer of the model, as for batch norm.

    Without `work` the images are as the table of datasets knows them; if it does not, nothing is checked.
    """
    if not study.batches_of_one:
        return
    wanted = study.workload
    found: tuple[nn.Module, torch.Tensor] | None
    if work is not None:
        found = work.build_model(init_seed=0), work.task().batch(0, 1, torch.arange(1))[0]
    else:
        found = workload.without_files(
            wanted.model, wanted.dataset, options=wanted.options, model_options=wanted.model_options
        )
    try:
        if found is not None:
            batch_norm.check_values(*found, training=True)
    except UsageError as error:
        raise UsageError(f"{study.batches_of_one[0]} = 1: {error} Use 2 or more.") from None


def check_memory(study: Study, work: Workload) -> None:
    """Raise `UsageError` where micro-batches would change numbers without consent, or a format is not there.

    The device is that of this machine; on a cluster each trial checks its own before its first step.
    """
    formats.check_format(study.training.autocast, torch.device(default_device()))
    if study.training.micro_batch:
        micro_batches.check_model(*_few(work), consent=study.training.micro_batch_norm)


def check_workers(study: Study, work: Workload, several: int) -> None:
    """Raise `UsageError` where several workers cannot make the steps of one: by batch sizes, or by the model.

    Sizes are powers of two times the smallest.
    """
    if several == 1:
        return
    if study.training.micro_batch:
        raise UsageError(
            f"training.micro_batch = {study.training.micro_batch} takes gradients a part of the batch at a time, and "
            f"{several} workers of a trial each take a part of it already. Leave one of the two out."
        )
    workers.check_divides(several, [study.space.batch_size.low], "space.batch_size.low")
    if study.training.init == "pretrain" and study.pretrain is not None:
        workers.check_divides(several, [study.pretrain.batch_size], "pretrain.batch_size")
    workers.check_model(*_few(work))


def _few(work: Workload) -> tuple[nn.Module, torch.Tensor]:
    """Return the model, and four training samples for it at most."""
    return work.build_model(init_seed=0), work.task().batch(0, 1, torch.arange(min(4, work.task().train_size)))[0]


def check_schemes(study: Study, work: Workload) -> None:
    """Raise `UsageError` for a scheme that does not fit the model, such as one that names a layer it lacks.

    A model that cannot evaluate a single sample is refused, too: the last batch of a split may be one.
    """
    example, _ = work.task().batch(0, 1, torch.arange(1))
    batch_norm.check_values(work.build_model(init_seed=0), example, training=False)
    if study.quantization.mixed is not None:
        choices(study, work)
    for scheme in dict.fromkeys(map(stand_in, study.schemes)):
        quantize(work.build_model(init_seed=0), scheme, example)
