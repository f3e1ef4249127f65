"""The configuration of a trial outside of studies: what is said of it by key, and the rest from the tables."""

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from pydantic import ValidationError, create_model

from tune_qat import data, optimizers, quantizers
from tune_qat.config import TrialConfig, UsageError
from tune_qat.study.file import set_value
from tune_qat.study.mistakes import explain
from tune_qat.study.sections import Section

_FIELDS: Any = {one.name: (one.type, None) for one in fields(TrialConfig) if one.name != "sources"}
_KEYS = create_model("Trial", __base__=Section, **_FIELDS)
"""The fields of a trial as keys of a section: which there are, and of which type."""


def lone_trial(settings: Mapping[str, Any], options: Mapping[tuple[str, ...], Any]) -> TrialConfig:
    """Resolve a configuration from settings by dotted key, from options where those say nothing, and from the tables.

    Raises:
        UsageError: a key that a trial does not have, or a value that it does not take.
    """
    values: dict[str, Any] = {}
    for key, value in settings.items():
        set_value(values, key, value)
    for path, value in options.items():
        _fill(values, path, value)
    values.setdefault("learning_rate", optimizers.get_spec(values["optimizer"]).default_learning_rate)
    values.setdefault("schedule", optimizers.schedule_of(values["optimizer"], "cosine"))
    values.setdefault("init_seed", values["seed"])
    separate = values.get("quantizer_optimizer")
    if isinstance(separate, dict) and "name" in separate:
        separate.setdefault("learning_rate", optimizers.get_spec(separate["name"]).default_learning_rate)
    try:
        # As JSON a list will do for a tuple and a section for a dataclass, strict as all is.
        keys = _KEYS.model_validate_json(json.dumps(values, default=str))
    except ValidationError as error:
        raise UsageError(explain(error, ["tune-qat train"], settings, _KEYS)) from None
    said = TrialConfig(**{name: getattr(keys, name) for name in values})
    own = said.quantizer_optimizer
    config = replace(
        said,
        dataset_options=data.resolve_options(data.get_spec(said.dataset, said.task), said.dataset_options),
        scheme=quantizers.scheme_of(**values["scheme"]),
        optimizer_options=optimizers.resolve_options(said.optimizer, said.optimizer_options),
        quantizer_optimizer=own and replace(own, options=optimizers.resolve_options(own.name, own.options)),
    )
    optimizers.check(config)
    return config


def _fill(values: dict[str, Any], path: tuple[str, ...], value: Any) -> None:
    """Put a value where there is none; what stands in place of a section is refused later, with its key."""
    *parents, last = path
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            return
    values.setdefault(last, value)
