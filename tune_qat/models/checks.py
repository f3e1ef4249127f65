"""Checks of models that come from elsewhere, made once before anything is trained."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from tune_qat import models
from tune_qat.config import UsageError
from tune_qat.config.shown import cause, shown
from tune_qat.data.spec import CLASSIFICATION, SUPER_RESOLUTION, ModelInput
from tune_qat.models.names import ANY_TASK, is_library

SAMPLES = 2
"""Samples of the batch that a model is tried on: batch norm needs more than one."""
ANY_SIZE = 16
"""Height and width of the images where a model takes any."""


def check_model(name: str, model_input: ModelInput, options: Mapping[str, Any]) -> None:
    """Build a model, and refuse one from elsewhere that does not do for the task.

    Raises:
        UsageError: it cannot be built; built twice from one seed it is not the same; its output in training or
            evaluation is no tensor, or of the wrong shape.
    """
    model = models.build(name, model_input, 0, options)
    own = models.get_spec(name).task == ANY_TASK
    if own:
        _check_same(name, model, models.build(name, model_input, 0, options))
    if own or is_library(name):
        for training in (True, False):
            _check_output(name, model.train(training), model_input)


def _check_same(name: str, first: nn.Module, second: nn.Module) -> None:
    ours, theirs = first.state_dict(), second.state_dict()
    differing = [key for key in ours.keys() | theirs.keys() if not _equal(ours.get(key), theirs.get(key))]
    if not differing and _kinds(first) == _kinds(second):
        return
    what = f"{sorted(differing)[0]} differs" if differing else "its modules differ"
    raise UsageError(
        f"Model {name!r} is not the same when it is built twice from one seed: {what}. Whoever runs a trial again "
        "would train another network. Draw initial weights from torch's generator alone, which is seeded."
    )


def _kinds(model: nn.Module) -> list[tuple[str, str]]:
    return [(name, type(module).__qualname__) for name, module in model.named_modules()]


def _equal(left: Any, right: Any) -> bool:
    if isinstance(left, torch.Tensor) and isinstance(right, torch.Tensor):
        return left.shape == right.shape and left.dtype == right.dtype and torch.equal(left, right)
    return type(left) is type(right) and not isinstance(left, torch.Tensor) and bool(left == right)


def _check_output(name: str, model: nn.Module, model_input: ModelInput) -> None:
    sizes = [length or ANY_SIZE for length in model_input.shape]
    inputs = torch.zeros(SAMPLES, *sizes, dtype=getattr(torch, model_input.dtype))
    mode = "training" if model.training else "evaluation"
    said = f"Model {name!r}, given a batch of shape {tuple(inputs.shape)} in {mode}"
    try:
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            output = model(inputs)
    except MemoryError:
        raise
    except Exception as error:  # whatever a module of someone else's does
        raise UsageError(f"{said}, ends in {type(error).__name__}: {cause(error)}") from error
    if not isinstance(output, torch.Tensor):
        raise UsageError(f"{said}, gives a {type(output).__name__} in place of one tensor.")
    wanted = _output_shape(model_input, sizes)
    if wanted is not None and tuple(output.shape) != wanted:
        task = model_input.task.replace("_", "-")
        raise UsageError(f"{said}, gives {shown(tuple(output.shape))}, but {task} needs {wanted}.")


def _output_shape(model_input: ModelInput, sizes: list[int]) -> tuple[int, ...] | None:
    """Return the shape that the task's loss takes; None where the task alone knows it (`training.fitting`)."""
    if model_input.task == CLASSIFICATION:
        return SAMPLES, model_input.classes or 0
    if model_input.task == SUPER_RESOLUTION:
        scale = model_input.scale or 1
        return SAMPLES, sizes[0], scale * sizes[1], scale * sizes[2]
    return None
