"""Builders behind names: a line of the table, a library's network, an own part; from one seed, for any image size."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import torch
from torch import nn

from tune_qat.config import UsageError
from tune_qat.config.lookup import resolve
from tune_qat.config.shown import cause, shown
from tune_qat.data.spec import ModelInput
from tune_qat.models import library
from tune_qat.models.names import ANY_TASK, is_library, load_own
from tune_qat.models.own import call_of
from tune_qat.models.parts import Enlarged
from tune_qat.models.spec import ModelSpec


def build(spec: ModelSpec, model_input: ModelInput, init_seed: int, options: Mapping[str, Any]) -> nn.Module:
    """Build a model from a seed; torch's global random state does not change.

    Raises:
        UsageError: an input or an option that the model does not take, or something else than a module.
    """
    with torch.random.fork_rng(devices=[]):
        make, size = _maker(spec, model_input, options)
        fitting = _enlarged(model_input, size)
        # Not torch.manual_seed, which seeds the accelerators' generators as well.
        torch.default_generator.manual_seed(init_seed)
        model = make(fitting)
    if fitting == model_input:
        return model
    assert fitting.height is not None and fitting.width is not None
    return Enlarged(model, (fitting.height, fitting.width))


def _maker(
    spec: ModelSpec, model_input: ModelInput, options: Mapping[str, Any]
) -> tuple[Callable[[ModelInput], nn.Module], tuple[int, int]]:
    """Return the builder, called with the input that the network gets, and the smallest height and width of that."""
    if is_library(spec.name):
        size = _said(spec.name, partial(library.size, options=options), model_input)
        return partial(_module_of, spec.name, partial(library.build, options=options)), size
    if spec.task == ANY_TASK:
        call = call_of(spec.name, load_own(spec.name), options)
        return partial(_module_of, spec.name, lambda name, given: call(given)), (0, 0)
    return resolve(spec.build), (spec.smallest, spec.smallest)


def _module_of(name: str, make: Callable[[str, ModelInput], Any], model_input: ModelInput) -> nn.Module:
    model = _said(name, make, model_input)
    if not isinstance(model, nn.Module):
        raise UsageError(f"Model {name!r} gives {shown(model)}, which is no torch.nn.Module.")
    return model


def _said(name: str, make: Callable[[str, ModelInput], Any], model_input: ModelInput) -> Any:
    """Call a builder that is not ours; what it raises becomes a `UsageError` in one line."""
    try:
        return make(name, model_input)
    except (UsageError, MemoryError):
        raise
    except Exception as error:
        raise UsageError(
            f"Model {name!r} cannot be built for {_words(model_input)}: {type(error).__name__}: {cause(error)}"
        ) from error


def _words(model_input: ModelInput) -> str:
    if not model_input.is_image:
        return f"inputs of shape {model_input.shape}, {model_input.dtype}"
    size = f" of {model_input.height} x {model_input.width}" if model_input.height else ""
    classes = f" and {model_input.classes} classes" if model_input.classes else ""
    return f"images{size} with {model_input.channels} channels{classes}"


def _enlarged(model_input: ModelInput, smallest: tuple[int, int]) -> ModelInput:
    if model_input.height is None or model_input.width is None:
        return model_input
    height, width = (max(pair) for pair in zip((model_input.height, model_input.width), smallest, strict=True))
    return replace(model_input, height=height, width=width, shape=(model_input.channels, height, width))
