"""Models by name: lines of the table, networks of timm and torchvision, own parts of the user's.

Free of torch until a model is built.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tune_qat.config import UsageError, lookup
from tune_qat.config.own_parts import is_own
from tune_qat.data.spec import CLASSIFICATION, DatasetSpec, ModelInput, gives_vectors
from tune_qat.models.names import (
    ANY_TASK,
    check_library_options,
    is_library,
    is_offered,
    library_spec,
    load_own,
    own_spec,
)
from tune_qat.models.spec import ModelSpec
from tune_qat.models.table import MODELS as MODELS

if TYPE_CHECKING:
    from torch import nn


def get_spec(name: str) -> ModelSpec:
    """Find the line of a model; of any other, what its name says. Nothing is imported.

    Raises:
        UsageError: an unknown name, or one that is no network's and no own part's.
    """
    if is_library(name):
        return library_spec(name)
    if is_own(name) or (name not in MODELS and is_offered(name)):
        return own_spec(name)
    return MODELS.get_spec(name)


def check_options(name: str, options: Mapping[str, Any]) -> None:
    """Raise `UsageError` for options of a model that takes none, or that are not the user's. Nothing is imported.

    Those that a library's network or an own model takes are known when it is built.
    """
    if is_library(name):
        check_library_options(name, options)
    elif get_spec(name).task != ANY_TASK:
        lookup.check_options("model", name, options, ())


def check_fits_task(name: str, dataset: DatasetSpec) -> None:
    """Raise `UsageError` for a model that is made for another task than the dataset's."""
    if is_own(name):
        return
    _check_task(get_spec(name), dataset.task, f"dataset {dataset.name!r} is")


def check_found(name: str) -> None:
    """Raise `UsageError` for a library's network that it does not have, or an own part that cannot be imported.

    Imports the library, with torch, or the part; builds nothing.
    """
    if is_library(name):
        lookup.resolve("tune_qat.models.library:check_listed")(name)
    elif get_spec(name).task == ANY_TASK:
        load_own(name)


def build(
    name: str, model_input: ModelInput, init_seed: int, options: Mapping[str, Any] = MappingProxyType({})
) -> "nn.Module":
    """Build a freshly initialised model; torch's global random state does not change.

    Images that are too small for a network are enlarged to its smallest size, so that networks for large images can be
    used with every dataset of their task.

    Args:
        name: line of the table, `timm:NAME`, `torchvision:NAME`, or `package.module:name` of an own part.
        model_input: images and number of outputs.
        init_seed: seed of the initial weights.
        options: keyword arguments of the library's network, or of the own part.

    Raises:
        UsageError: an unknown name, another task, an option or an input that the model does not take.
    """
    spec = get_spec(name)
    check_options(name, options)
    _check_task(spec, model_input.task, "the input is")
    built: nn.Module = lookup.resolve("tune_qat.models.building:build")(spec, model_input, init_seed, options)
    return built


def _check_task(spec: ModelSpec, task: str, what: str) -> None:
    if spec.task and spec.task != task and not (spec.task == CLASSIFICATION and gives_vectors(task)):
        fitting = ", ".join(other.name for other in MODELS.values() if other.task == task)
        fitting = fitting or "of your own, by import path"
        raise UsageError(
            f"Model {spec.name!r} is made for {_words(spec.task)}, but {what} for {_words(task)}. "
            f"Models for that: {fitting}."
        )


def _words(task: str) -> str:
    return task.replace("_", "-")
