"""A workload: a model and the dataset that it is trained on, checked to fit each other."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tune_qat import data, models
from tune_qat.config import TrialConfig, UsageError, trial_key
from tune_qat.config.own_parts import is_own
from tune_qat.data.mapped_images import InFile
from tune_qat.data.pixel_file import PixelFile
from tune_qat.data.task import Dataset, Task
from tune_qat.training.fitting import check_output

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A model and the decoded data it is trained on."""

    model: str
    dataset: Dataset
    model_options: Mapping[str, Any] = field(default_factory=dict)

    @property
    def name(self) -> str:
        return f"{self.model}-{self.dataset.spec.name}"

    def task(self, device: "torch.device | str" = "cpu") -> Task:
        return self.dataset.task(device)

    def build_model(self, init_seed: int) -> "nn.Module":
        """Build the floating-point model; raise `UsageError` if it does not fit the dataset."""
        return models.build(self.model, self.dataset.model_input, init_seed, self.model_options)

    def key(self, config: TrialConfig, stage: str, init_checkpoint_sha256: str | None) -> str:
        return trial_key(
            config,
            stage,
            data_fingerprint=self.dataset.fingerprint,
            split_fingerprint=self.dataset.split_fingerprint,
            init_checkpoint_sha256=init_checkpoint_sha256,
        )

    def mapped_files(self) -> tuple[PixelFile, ...]:
        """Return the files of decoded images, which each process opens itself; none for images in memory."""
        return tuple(split.file for split in self.dataset.splits.values() if isinstance(split, InFile))

    def reference_points(self) -> dict[str, Any]:
        """Return an arm's columns with the trivial scores and baselines of the validation and test splits."""
        task = self.task()
        known = [split for split in ("val", "test") if split in self.dataset.splits]
        return {
            "trivial_score": task.trivial("val").metric,
            "trivial_test_score": task.trivial("test").metric if "test" in known else None,
            "baselines": {split: finite(task.baselines(split)) for split in known},
        }


def batch_too_large(batch_size: int, train_size: int, dataset: str) -> UsageError:
    """Return the error for a batch larger than an epoch, which would leave no full batch."""
    return UsageError(
        f"Batch size {batch_size} is larger than one epoch of {dataset!r} ({train_size} samples). "
        "Lower space.batch_size.high (--batch-size), or use more training data."
    )


def check_batches(config: TrialConfig, train_size: int, dataset: str) -> None:
    """Raise `UsageError` for a batch, or batches to calibrate on, of more samples than an epoch has."""
    if config.batch_size > train_size:
        raise batch_too_large(config.batch_size, train_size, dataset)
    check_calibration(config.calibration_batches, config.batch_size, train_size, dataset)


def check_calibration(batches: int, batch_size: int, train_size: int, dataset: str) -> None:
    """Raise `UsageError` for more batches to calibrate on than an epoch has."""
    if batches > 1 and batches * batch_size > train_size:
        raise UsageError(
            f"calibration_batches = {batches} batches of {batch_size} are more than one epoch of {dataset!r} "
            f"({train_size} samples). Lower calibration_batches, or use more training data."
        )


def finite(values: Mapping[str, float]) -> dict[str, float]:
    """Return the finite values: a record holds no NaN."""
    return {name: value for name, value in values.items() if math.isfinite(value)}


def without_files(
    model: str, dataset: str, *, options: Mapping[str, Any], model_options: Mapping[str, Any]
) -> "tuple[nn.Module, torch.Tensor] | None":
    """Build a model and a black image, float32 of shape (1, channels, height, width), as the table knows the dataset.

    None if it takes the files, or an own part, to know. The number of classes is a stand-in.
    """
    import torch

    known = None if is_own(model) else data.known_input(dataset, options)
    if known is None:
        return None
    image = torch.zeros(1, known.channels, known.height or 0, known.width or 0)
    return models.build(model, known, 0, model_options), image


def of_trial(
    config: TrialConfig, *, data_dir: str | Path | None = None, default_data_dir: str | Path | None = None
) -> Workload:
    """Load the workload of a trial's configuration, as `load` does."""
    return load(
        config.model,
        config.dataset,
        data_dir=data_dir,
        default_data_dir=default_data_dir,
        options=config.dataset_options,
        model_options=config.model_options,
        task=config.task,
    )


def load(
    model: str,
    dataset: str,
    *,
    data_dir: str | Path | None = None,
    default_data_dir: str | Path | None = None,
    options: Mapping[str, Any],
    model_options: Mapping[str, Any] = MappingProxyType({}),
    task: str = "",
) -> Workload:
    """Decode the dataset, found as `data.load` says, and check that the model fits it.

    Raises `UsageError` for an unknown name or option, or a model that does not fit the task, and `TuneQatError` for
    missing or damaged data.
    """
    models.check_fits_task(model, data.get_spec(dataset, task))
    models.check_options(model, model_options)
    models.check_found(model)
    found = data.load(dataset, data_dir=data_dir, default_data_dir=default_data_dir, options=options, task=task)
    from tune_qat.models.checks import check_model  # which imports torch

    workload = Workload(model=model, dataset=found, model_options=dict(model_options))
    check_model(model, found.model_input, model_options)
    check_output(model, workload.build_model(init_seed=0), found)
    return workload
