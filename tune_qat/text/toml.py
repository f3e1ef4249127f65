"""Writes plain values as TOML that people like to read. The standard library only reads it."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_WIDTH = 100
"""A list that would make its line longer than this has a line for each entry."""


def toml_text(values: Mapping[str, Any]) -> str:
    """The values with a section for each table of the top level; what lies deeper is written inline, or dotted.

    Takes truth values, whole numbers, floats, text, and lists and mappings of these. `tomllib` reads back the same.
    """
    plain = [_line((key,), value) for key, value in values.items() if not isinstance(value, Mapping)]
    sections = [
        "\n".join([f"[{_key(name)}]", *_lines((), value)])
        for name, value in values.items()
        if isinstance(value, Mapping)
    ]
    return "\n\n".join(["\n".join(plain)] * bool(plain) + sections) + "\n"


def _lines(path: tuple[str, ...], table: Mapping[str, Any]) -> Iterator[str]:
    """A line for each value; a table of tables continues in dotted keys."""
    for key, value in table.items():
        if isinstance(value, Mapping) and any(isinstance(inner, Mapping) for inner in value.values()):
            yield from _lines((*path, key), value)
        else:
            yield _line((*path, key), value)


def _line(path: tuple[str, ...], value: Any) -> str:
    line = f"{'.'.join(map(_key, path))} = {_value(value)}"
    if len(line) <= _WIDTH or not isinstance(value, Sequence) or isinstance(value, str):
        return line
    entries = "".join(f"    {_value(one)},\n" for one in value)
    return f"{'.'.join(map(_key, path))} = [\n{entries}]"


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _text(name)


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, Mapping):
        inner = ", ".join(f"{_key(name)} = {_value(one)}" for name, one in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, Sequence):
        return f"[{', '.join(map(_value, value))}]"
    raise TypeError(f"TOML is written of plain values, not of {type(value).__name__}")


def _text(value: str) -> str:
    # JSON's escapes are TOML's, but for DEL, which JSON writes as it is.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
