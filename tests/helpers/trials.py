"""Tiny trials on built-in data, and what tests ask of their results."""

import math
from collections.abc import Iterator
from dataclasses import asdict, fields, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

from tune_qat import optimizers
from tune_qat.config import EpochResult, Scheme, TrialConfig
from tune_qat.training import workload
from tune_qat.training.checkpoints import load_checkpoint, save_checkpoint
from tune_qat.training.loop import Training
from tune_qat.training.workload import Workload

SAMPLES = 96
"""Training samples of `DIGITS`."""
DIGITS: dict[str, Any] = {"model": "lenet5", "dataset": "digits", "dataset_options": {"train_limit": SAMPLES}}
PHOTOS: dict[str, Any] = {"model": "espcn", "dataset": "photos", "dataset_options": {"patches_per_image": 4}}
FLOAT = Scheme.floating_point()


@cache
def loaded(
    model: str,
    dataset: str,
    options: tuple[tuple[str, Any], ...],
    of_model: tuple[tuple[str, Any], ...] = (),
    task: str = "",
) -> Workload:
    return workload.load(model, dataset, options=dict(options), model_options=dict(of_model), task=task)


def work_of(config: TrialConfig) -> Workload:
    of_data, of_model = tuple(config.dataset_options.items()), tuple(config.model_options.items())
    return loaded(config.model, config.dataset, of_data, of_model, config.task)


def tiny_trial(**changes: Any) -> TrialConfig:
    """LeNet-5 on a few digits, W4A4, Adam, two epochs of six steps, unless told otherwise."""
    values: dict[str, Any] = {
        **DIGITS,
        "scheme": Scheme(),
        "optimizer": "adam",
        "learning_rate": 1e-3,
        "batch_size": 16,
        "epochs": 2,
    }
    values |= changes
    values.setdefault("schedule", optimizers.schedule_of(values["optimizer"], "cosine"))
    options = optimizers.resolve_options(values["optimizer"], values.get("optimizer_options", {}))
    return TrialConfig(**{**values, "optimizer_options": options})


def training_of(config: TrialConfig, **more: Any) -> Training:
    return Training(config, more.pop("work", None) or work_of(config), **more)


def results_of(config: TrialConfig, **more: Any) -> list[EpochResult]:
    return list(training_of(config, **more).epochs())


def resumed_every_epoch(config: TrialConfig, folder: Path, **more: Any) -> tuple[list[EpochResult], Training]:
    """Train with a new process's worth of objects for each epoch, joined by checkpoint files alone."""
    results: list[EpochResult] = []
    while True:
        training = training_of(config, **more)
        if results:
            training.load_state_dict(load_checkpoint(folder / "last.pt"))
        result = next(training.epochs(), None)
        if result is None:
            return results, training
        results.append(result)
        save_checkpoint(training.state_dict(), folder / "last.pt")


def timeless(result: EpochResult) -> EpochResult:
    return replace(result, wall_s=0.0, device_s=0.0)


def assert_same_curve(left: list[EpochResult], right: list[EpochResult]) -> None:
    assert [timeless(result) for result in left] == [timeless(result) for result in right]


def assert_same_state(left: torch.nn.Module, right: torch.nn.Module) -> None:
    ours, theirs = left.state_dict(), right.state_dict()
    assert ours.keys() == theirs.keys()
    for name, value in ours.items():
        same = torch.equal(value, theirs[name]) if isinstance(value, torch.Tensor) else value == theirs[name]
        assert same, name


def assert_nothing_infinite(result: EpochResult) -> None:
    for name, value in _numbers(asdict(result)):
        assert value is None or math.isfinite(value), name


def _numbers(values: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if name == "layers":
            for layer in value:
                yield from _numbers(layer)
        elif not isinstance(value, str):
            yield name, value


def steps_trained(training: Training) -> list[list[int]]:
    """The samples of each batch that is trained on from now, as they come."""
    batches: list[list[int]] = []
    draw = training.task.batch

    def recorded(seed: int, epoch: int, index: torch.Tensor) -> Any:
        batches.append(index.tolist())
        return draw(seed, epoch, index)

    training.task.batch = recorded  # type: ignore[method-assign]  # on this task alone
    return batches


TEST_FIELDS = [field.name for field in fields(EpochResult) if field.name.startswith("test_")]
