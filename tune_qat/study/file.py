"""A study file as it is read: TOML, `extend`, overrides by dotted key, and errors in the user's own words."""

import json
import os
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from tune_qat.config import UsageError
from tune_qat.config.lookup import did_you_mean
from tune_qat.config.shown import LONGEST, cut, shown
from tune_qat.study.mistakes import explain
from tune_qat.study.sections import PretrainSection
from tune_qat.study.user_toml import LEVELS, read_file, read_toml

FILES = 20
"""Most files that extend one another."""
Model = TypeVar("Model", bound=BaseModel)
"""The class that a file fills: the reader knows no study."""


def bundled() -> dict[str, Path]:
    """Find the study files that come with the package, by name."""
    import search_spaces

    folder = Path(search_spaces.__path__[0])
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def summary(path: Path) -> str:
    """Read the first comment line of a study file: what it answers."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            return line.lstrip("# ").strip()
    return ""


def merged(space: str) -> dict[str, Any]:
    """Merge a study file with the files that it extends into one mapping, with its name."""
    path = _find(space, Path())
    values, _ = _read(path, ())
    return {"name": path.stem, **values}


def load_study(model: type[Model], space: str, overrides: Mapping[str, Any]) -> Model:
    """Read, extend, override and validate; a mistake is a `UsageError` with file, key, value and what is allowed."""
    path = _find(space, Path())
    values, files = _read(path, ())
    return _filled(model, {"name": path.stem, **values}, overrides, files)


def of_values(model: type[Model], values: dict[str, Any], where: str) -> Model:
    """Check values that no file holds yet; a mistake is a `UsageError` as of `where`."""
    return _filled(model, values, {}, [where])


def is_study(space: str) -> bool:
    """Return whether `load_study` would find a file of this name."""
    return space in bundled() or os.path.isfile(space)


def recorded_values(definition_json: str) -> dict[str, Any]:
    """Read the values of a study from its record, to be validated again; nothing where they are no section."""
    values = json.loads(definition_json)
    if not isinstance(values, dict):
        return {}
    if isinstance(values.get("pretrain"), dict):
        # A schedule that was not said gives way to the optimizer's own; in the record all of them are said.
        known = PretrainSection.model_fields
        values["pretrain"] = {k: v for k, v in values["pretrain"].items() if k not in known or v != known[k].default}
    return values


def recorded_study(model: type[Model], definition_json: str, overrides: Mapping[str, Any], where: str) -> Model:
    """Read a study from its record, with `overrides` by dotted key; `where` names it in an error."""
    return _filled(model, recorded_values(definition_json), overrides, [where])


def parse_override(text: str, option: str = "--set", example: str = "space.learning_rate.low=1e-6") -> tuple[str, Any]:
    """Read `key=value` of the command line; the value as TOML, and as text where it is none."""
    key, separator, value = (part.strip() for part in text.partition("="))
    if not separator or not all(key.split(".")):
        raise UsageError(f"{option} takes key=value, such as {example}, but got {shown(text)}.")
    _check_levels(option, key)
    try:
        read = read_toml(f"value = {value}", f"{option} {key}")
    except tomllib.TOMLDecodeError:
        return key, value
    return key, read["value"] if len(read) == 1 else value


def _find(space: str, folder: Path) -> Path:
    """Find a bundled file, or one whose path is meant from `folder`."""
    known = bundled()
    if space in known:
        return known[space]
    path = folder / space
    if os.path.isfile(path):  # False, too, for what cannot be a path
        return path
    hint = _near(space, path, known)
    raise UsageError(
        f"No study {shown(space)}: it is neither a bundled study nor a TOML file.{hint} "
        "`tune-qat list studies` names the bundled ones."
    )


def _near(space: str, path: Path, known: Iterable[str]) -> str:
    """Ask whether another study was meant: one that is spelt alike, else those that have the word in their name."""
    files = path.parent.glob("*.toml") if len(space) <= LONGEST and path.parent.is_dir() else ()
    names = [*known, *(str(Path(space).parent / one.name) for one in files)]
    if hint := did_you_mean(space, names):
        return hint
    word = Path(space).stem.lower()
    having = [name for name in names if len(word) > 2 and word in name][:3]
    return f" Did you mean {' or '.join(map(repr, having))}?" if having else " Begin with 'quickstart'."


def _read(path: Path, seen: Sequence[Path]) -> tuple[dict[str, Any], list[Path]]:
    """Read a file over the file that it extends; its values, and the files that they came from."""
    if path.resolve() in seen:
        raise UsageError(f"{path}: extend goes round in a circle.")
    if len(seen) == FILES:
        raise UsageError(f"{path}: extend goes on through more than {FILES} files. Copy what they say into fewer.")
    values = read_file(path)
    base = values.pop("extend", None)
    if base is None:
        return values, [path]
    if not isinstance(base, str):
        raise UsageError(f"{path}: extend must be a bundled name or a path, but got {shown(base)}.")
    try:
        found = _find(base, path.parent)
    except UsageError as error:
        raise UsageError(f"{path}: extend: {error}") from None
    parent, files = _read(found, (*seen, path.resolve()))
    parent.pop("name", None)
    return _merge(parent, values), [path, *files]


def _merge(base: dict[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in top.items():
        both = isinstance(value, Mapping) and isinstance(base.get(key), dict)
        merged[key] = _merge(base[key], value) if both else value
    return merged


def _filled(
    model: type[Model], values: dict[str, Any], overrides: Mapping[str, Any], files: Sequence[Path | str]
) -> Model:
    for key, value in overrides.items():
        set_value(values, key, value)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise UsageError(explain(error, files, overrides, model)) from None


def set_value(values: dict[str, Any], key: str, value: Any) -> None:
    """Put a value under a dotted key; `UsageError` where a part of the key is no section."""
    _check_levels("--set", key)
    *parents, last = key.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise UsageError(f"--set {key}: {parent!r} is a value, not a section.")
    values[last] = value


def _check_levels(option: str, key: str) -> None:
    parts = key.count(".") + 1
    if parts > LEVELS:
        raise UsageError(f"{option} {cut(key)}: a key has at most {LEVELS} parts, but this one has {parts:,}.")
