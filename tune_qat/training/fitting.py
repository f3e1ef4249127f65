"""Whether a model takes the data's inputs, and gives what its task expects of it."""

import torch
from torch import nn

from tune_qat.config import UsageError
from tune_qat.config.shown import cut
from tune_qat.data.spec import ModelInput
from tune_qat.data.task import Dataset
from tune_qat.training import batch_norm

ANY_LENGTH = 32
"""Length of an axis for which a model takes any."""
TYPES = {"float32": torch.float32, "int64": torch.int64}
"""Types of `ModelInput.dtype`."""


def zeros(model_input: ModelInput) -> torch.Tensor:
    """Return one sample of zeros, shape (1, ...)."""
    return torch.zeros(1, *(length or ANY_LENGTH for length in model_input.shape), dtype=TYPES[model_input.dtype])


@torch.no_grad()
def check_output(name: str, model: nn.Module, dataset: Dataset) -> None:
    """Raise `UsageError` for a model that does not take a sample, or whose output is not of the task's shape.

    One that cannot evaluate a single sample for its norms is not judged here: `batch_norm.check_values` names the norm.
    """
    example = zeros(dataset.model_input)
    said = f"Model {name!r} on dataset {dataset.spec.name!r}"
    try:
        with torch.random.fork_rng(devices=()):
            output = model.eval()(example)
    except Exception as error:  # whatever a module raises
        if _lacks_values(model, example):
            return
        raise UsageError(
            f"{said}: a sample of shape {tuple(example.shape)}, {dataset.model_input.dtype}, is not what the model "
            f"takes ({type(error).__name__}: {cut(str(error))})."
        ) from error
    expected = dataset.task().output_shape(example)
    found = tuple(output.shape) if isinstance(output, torch.Tensor) else type(output).__name__
    if found != expected:
        raise UsageError(
            f"{said}: for inputs of shape {tuple(example.shape)} the output is {found}, but task "
            f"{dataset.spec.task.replace('_', '-')} needs {expected}."
        )


def _lacks_values(model: nn.Module, example: torch.Tensor) -> bool:
    try:
        batch_norm.check_values(model, example, training=False)
    except UsageError:
        return True
    except Exception:  # the one that is said
        return False
    return False
