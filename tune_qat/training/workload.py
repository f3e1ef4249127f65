"""A workload: a model and the dataset that it is trained on, checked to fit each other."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tune_qat import data, models
from tune_qat.config import TrialConfig, UsageError, trial_key
from tune_qat.data.mapped_images import MappedImages
from tune_qat.data.pixel_file import PixelFile
from tune_qat.data.task import Dataset, Task

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Workload:
    """A model and the decoded data it is trained on."""

    model: str
    dataset: Dataset

    @property
    def name(self) -> str:
        return f"{self.model}-{self.dataset.spec.name}"

    def task(self, device: "torch.device | str" = "cpu") -> Task:
        return self.dataset.task(device)

    def build_model(self, init_seed: int) -> "nn.Module":
        """Build the floating-point model; raise `UsageError` if it does not fit the dataset."""
        return models.build(self.model, self.dataset.model_input, init_seed)

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
        return tuple(split.file for split in self.dataset.splits.values() if isinstance(split, MappedImages))

    def reference_points(self) -> dict[str, Any]:
        """Return an arm's columns with the trivial scores and baselines of the validation and test splits."""
        task = self.task()
        baselines = {split: finite(task.baselines(split)) for split in ("val", "test")}
        return {
            "trivial_score": task.trivial("val").metric,
            "trivial_test_score": task.trivial("test").metric,
            "baselines": baselines,
        }


def batch_too_large(batch_size: int, train_size: int, dataset: str) -> UsageError:
    """Return the error for a batch larger than an epoch, which would leave no full batch."""
    return UsageError(
        f"Batch size {batch_size} is larger than one epoch of {dataset!r} ({train_size} samples). "
        "Lower space.batch_size.high (--batch-size), or use more training data."
    )


def finite(values: Mapping[str, float]) -> dict[str, float]:
    """Return the finite values: a record holds no NaN."""
    return {name: value for name, value in values.items() if math.isfinite(value)}


def without_files(model: str, dataset: str, *, options: Mapping[str, Any]) -> "tuple[nn.Module, torch.Tensor] | None":
    """Build a model and a black image, float32 of shape (1, channels, height, width), as the table knows the dataset.

    None if it takes the files to know. The number of classes is a stand-in.
    """
    import torch

    known = data.known_input(dataset, options)
    if known is None:
        return None
    image = torch.zeros(1, known.channels, known.height or 0, known.width or 0)
    return models.build(model, known, init_seed=0), image


def load(
    model: str,
    dataset: str,
    *,
    data_dir: str | Path | None = None,
    default_data_dir: str | Path | None = None,
    options: Mapping[str, Any],
) -> Workload:
    """Decode the dataset, found as `data.load` says, and check that the model fits it.

    Raises `UsageError` for an unknown name or option, or a model that does not fit the task, and `TuneQatError` for
    missing or damaged data.
    """
    models.check_fits_task(model, data.get_spec(dataset))
    found = data.load(dataset, data_dir=data_dir, default_data_dir=default_data_dir, options=options)
    workload = Workload(model=model, dataset=found)
    workload.build_model(init_seed=0)
    return workload
