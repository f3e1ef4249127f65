"""Mistakes in what a user wrote: which key, which value, and what is allowed, in words of the file."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import GetCoreSchemaHandler, GetPydanticSchema, ValidationError
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from tune_qat.config import UsageError
from tune_qat.config.lookup import did_you_mean
from tune_qat.config.shown import cut, shown

SAID = 20
"""Mistakes of a file that are said, the first ones."""
_RULE = "rule"
"""Type of an error that `rule_error` makes."""
_WORDS = {
    "int_type": "must be a whole number",
    "float_type": "must be a number",
    "string_type": "must be text",
    "bool_type": "must be true or false",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be a section",
    "too_short": "must not be empty",
    "too_few": "must have more values",
    "too_long": "must have fewer values",
}
"""Meaning of pydantic's types of errors to the writer of a study file, where its own words are a programmer's."""


def rule_error(key: str, rule: str) -> PydanticCustomError:
    """Make the error of a rule that pydantic does not know the key of, because it looks at several sections."""
    return PydanticCustomError(_RULE, "{key}: {rule}", {"key": key, "rule": rule})


@contextmanager
def reported_at(key: str) -> Iterator[None]:
    """Name the key of a mistake that a table, or a trial's own rule, finds."""
    try:
        yield
    except UsageError as error:
        raise rule_error(key, str(error)) from None


def _from_keys(kind: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
    def filled(values: Any, fill: Any) -> Any:
        try:
            return fill(values)
        except UsageError as error:
            raise ValueError(str(error)) from None

    schema: Any = handler.resolve_ref_schema(handler(kind))
    # Strict is about values; a section of the file is a mapping and no instance.
    schema["strict"] = False
    return core_schema.no_info_wrap_validator_function(filled, schema)


FROM_KEYS = GetPydanticSchema(_from_keys)
"""Annotation of a dataclass of `config` that a section fills: its fields are the keys, and its own rules hold."""


def explain(error: ValidationError, files: Sequence[Path | str], overrides: Mapping[str, Any], model: type[Any]) -> str:
    """Say a line for each mistake, below the file and those that it extends."""
    extended = f" (extends {', '.join(map(str, files[1:]))})" if len(files) > 1 else ""
    found = error.errors(include_url=False)
    lines = [_line(item, overrides, model) for item in found[:SAID]]
    more = [f"and {len(found) - SAID:,} more"] if len(found) > SAID else []
    return "\n".join([f"{files[0]}{extended}:", *(f"  {line}" for line in [*lines, *more])])


def _line(item: Any, overrides: Mapping[str, Any], model: type[Any]) -> str:
    kind, location, value = item["type"], item["loc"], item["input"]
    if kind == "missing" and isinstance(location[-1], int):
        kind, location = "too_few", location[:-1]
    key = item["ctx"]["key"] if kind == _RULE else ".".join(map(str, location))
    key, whole = cut(key), key
    origin = " (from --set)" if any(_within(whole, name) or _within(name, whole) for name in overrides) else ""
    if kind == _RULE:
        return f"{key}{origin}: {item['ctx']['rule']}"
    if kind == "value_error":
        return f"{key}{origin}: {item['msg'].removeprefix('Value error, ')}"
    if kind == "missing":
        return f"{key}: missing, and it has no default"
    if kind in ("extra_forbidden", "unexpected_keyword_argument"):
        known = _keys_at(model, location[:-1])
        return f"{key}{origin}: unknown key.{did_you_mean(str(location[-1]), known)} Known here: {', '.join(known)}."
    if kind in ("model_type", "dataclass_type"):
        rule = f"must be a section with the keys {', '.join(_keys_at(model, location))}"
    else:
        rule = _WORDS.get(kind) or item["msg"].replace("Input should be", "must be")
    # The value of an override is text unless it reads as something else.
    quotes = f"; to give it as text: --set '{key}=\"{shown(value)}\"'" if origin and kind == "string_type" else ""
    return f"{key}{origin}: {rule}, but got {shown(value)}{quotes}"


def _within(key: str, section: str) -> bool:
    """Return whether a dotted key is, or lies in, a section."""
    return f"{key}.".startswith(f"{section}.")


def _keys_at(model: type[Any], location: Sequence[int | str]) -> list[str]:
    """List the keys allowed in the section at `location`."""
    current: Any = model
    for part in location:
        if isinstance(part, str):  # a place in a list has the keys of its list
            inside = get_args(current)[-1] if get_origin(current) is dict else _keys(current).get(part)
            current = next(_sections(inside), None)
    return list(_keys(current))


def _sections(annotation: Any) -> Iterator[Any]:
    """Yield the sections, and mappings to sections, that an annotation names."""
    if _keys(annotation) or get_origin(annotation) is dict:
        yield annotation
    else:
        for part in get_args(annotation):
            yield from _sections(part)


def _keys(section: Any) -> dict[str, Any]:
    """Return the keys of a section with their types; nothing for anything else."""
    if isinstance(section, type) and is_dataclass(section):
        return {one.name: one.type for one in fields(section)}
    return {name: one.annotation for name, one in getattr(section, "model_fields", {}).items()}
