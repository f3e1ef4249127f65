"""Reads a study file: TOML, `extend`, overrides by dotted key, and errors in the user's own words."""

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ValidationError

from tune_qat.config import UsageError

if TYPE_CHECKING:
    from tune_qat.study import Study

_MISSING = object()


def bundled() -> dict[str, Path]:
    """The study files that come with the package, by name."""
    import search_spaces

    folder = Path(search_spaces.__path__[0])
    return {path.stem: path for path in sorted(folder.glob("*.toml"))}


def summary(path: Path) -> str:
    """The first comment line of a study file: what it answers."""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("#"):
            return line.lstrip("# ").strip()
    return ""


def load_study(model: "type[Study]", space: str, overrides: Mapping[str, Any]) -> "Study":
    """Read, extend, override and validate; a mistake is a `UsageError` with file, key, value and what is allowed."""
    path = _find(space)
    values = _read(path, ())
    for key, value in overrides.items():
        _set(values, key, value)
    values.setdefault("name", path.stem)
    try:
        return model.model_validate(values)
    except ValidationError as error:
        raise UsageError(_explain(error, path, overrides, model)) from None
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def parse_override(text: str, option: str = "--set") -> tuple[str, Any]:
    """`key=value` of the command line; the value is read as TOML, and as text where it is none."""
    key, separator, value = text.partition("=")
    if not separator or not key.strip():
        raise UsageError(f"{option} takes key=value, such as space.learning_rate.low=1e-6, but got {text!r}.")
    try:
        return key.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return key.strip(), value


def _find(space: str) -> Path:
    known = bundled()
    if space in known:
        return known[space]
    path = Path(space)
    if path.is_file():
        return path
    close = difflib.get_close_matches(space, known, n=1)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    raise UsageError(f"No study {space!r}: it is neither a bundled name ({', '.join(known)}) nor a TOML file.{hint}")


def _read(path: Path, seen: tuple[Path, ...]) -> dict[str, Any]:
    if path.resolve() in seen:
        raise UsageError(f"{path}: extend goes round in a circle.")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path} is not valid TOML: {error}.") from None
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}.") from None
    base = values.pop("extend", None)
    if base is None:
        return values
    if not isinstance(base, str):
        raise UsageError(f"{path}: extend must be a bundled name or a path, but got {base!r}.")
    beside = path.parent / base
    parent = _read(beside if beside.is_file() else _find(base), (*seen, path.resolve()))
    parent.pop("name", None)
    return _merge(parent, values)


def _merge(base: dict[str, Any], top: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in top.items():
        both = isinstance(value, Mapping) and isinstance(base.get(key), dict)
        merged[key] = _merge(base[key], value) if both else value
    return merged


def _set(values: dict[str, Any], key: str, value: Any) -> None:
    *parents, last = key.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise UsageError(f"--set {key}: {parent!r} is a value, not a section.")
    values[last] = value


def _explain(error: ValidationError, path: Path, overrides: Mapping[str, Any], model: type[BaseModel]) -> str:
    lines = [_explain_one(item, overrides, model) for item in error.errors(include_url=False)]
    return "\n".join([f"{path}:", *(f"  {line}" for line in lines)])


def _explain_one(item: Any, overrides: Mapping[str, Any], model: type[BaseModel]) -> str:
    key = ".".join(str(part) for part in item["loc"])
    origin = " (from --set)" if any(key.startswith(name) or name.startswith(f"{key}.") for name in overrides) else ""
    kind = item["type"]
    if kind == "extra_forbidden":
        allowed = list(_fields_at(model, item["loc"][:-1]))
        close = difflib.get_close_matches(str(item["loc"][-1]), allowed, n=1)
        hint = f"did you mean {close[0]!r}? " if close else ""
        return f"{key}{origin}: unknown key; {hint}known here: {', '.join(allowed)}"
    if kind == "missing":
        return f"{key}: missing, and it has no default"
    message = item["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if not key or kind == "value_error":
        return f"{key + ': ' if key else ''}{message}{origin}"
    return f"{key}{origin}: {message}, but got {item['input']!r}"


def _fields_at(model: type[BaseModel], location: tuple[int | str, ...]) -> Iterator[str]:
    """Names of the keys allowed in the section at `location`."""
    current: Any = model
    for part in location:
        field = getattr(current, "model_fields", {}).get(part, _MISSING)
        if field is _MISSING:
            return
        current = next(
            (a for a in (field.annotation, *getattr(field.annotation, "__args__", ())) if _is_model(a)), None
        )
    yield from getattr(current, "model_fields", {})


def _is_model(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)
