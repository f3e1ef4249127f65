"""TOML writer for plain values; the standard library only reads TOML."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from tune_qat.text.printable import CONTROLS

_BARE = re.compile(r"[A-Za-z0-9_-]+")
_WIDTH = 100
"""Length of a line above which a list gets a line for each entry."""


def toml_text(values: Mapping[str, Any]) -> str:
    """Return TOML with a section for each mapping of the top level; mappings inside are written inline or dotted.

    Values are bool, int, float, str, and lists and mappings of these; `tomllib` reads the same values back.
    """
    plain = [_line((key,), value) for key, value in values.items() if not isinstance(value, Mapping)]
    sections = [
        "\n".join([f"[{_key(name)}]", *_lines((), value)])
        for name, value in values.items()
        if isinstance(value, Mapping)
    ]
    return "\n\n".join(["\n".join(plain)] * bool(plain) + sections) + "\n"


def _lines(path: tuple[str, ...], table: Mapping[str, Any]) -> Iterator[str]:
    """Yield a line for each value; a mapping of mappings becomes dotted keys."""
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
    raise TypeError(f"a {type(value).__name__} cannot be written as TOML")


def _text(value: str) -> str:
    # TOML has JSON's escapes, and also requires one for DEL; other characters that a terminal obeys get one, too.
    return CONTROLS.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, ensure_ascii=False))
