"""Own models: a function of the model's input, or a class of modules; what they are called with."""

import inspect
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import nn

from tune_qat.config import UsageError
from tune_qat.config.shown import listed
from tune_qat.data.spec import ModelInput


def call_of(name: str, part: Any, options: Mapping[str, Any]) -> Callable[[ModelInput], Any]:
    """Return how an own part is called: a function with the model's input and the options, a class with options alone.

    Raises:
        UsageError: the part does not take these options, or lacks one that it needs.
    """
    if isinstance(part, type) and not issubclass(part, nn.Module):
        raise UsageError(f"Model {name!r} is the class {part.__name__}, which is made from no torch.nn.Module.")
    if isinstance(part, type):
        _check_bound(name, part, (), options)
        return lambda model_input: part(**options)
    _check_bound(name, part, ("model_input",), options)
    return partial(part, **options)


def _check_bound(name: str, part: Any, positional: tuple[str, ...], options: Mapping[str, Any]) -> None:
    signature = inspect.signature(part)
    try:
        signature.bind(*positional, **options)
    except TypeError as error:
        kinds = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
        takes = [one.name for one in signature.parameters.values() if one.kind in kinds]
        takes = takes[len(positional) :]
        how = (
            "A function is called with the model's input first (tune_qat.data.spec.ModelInput), and with the model "
            "options by name"
            if positional
            else "A class is called with the model options alone, by name"
        )
        raise UsageError(
            f"Model {name!r} cannot be called with the model options {listed(options) or '(none)'}: {error}. {how}. "
            f"Options of this one: {listed(takes) or 'none'}. Set them in [workload.model_options] "
            "(--set model_options.NAME=VALUE for train)."
        ) from None
