"""Finds things by name: a line of a table, a function of a module. Standard library only, so that all may import it."""

import difflib
import importlib
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from tune_qat.config import UsageError

T = TypeVar("T")


def find(table: Mapping[str, T], name: str, kind: str) -> T:
    """The line of `table` with this name; `UsageError` with the nearest name and all names where there is none."""
    if name not in table:
        raise UsageError(f"Unknown {kind} {name!r}.{did_you_mean(name, table)} Known: {', '.join(table)}.")
    return table[name]


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A question, after a blank, with the known word that is nearest; empty where none is near."""
    close = difflib.get_close_matches(word, list(known), n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def resolve(reference: str) -> Callable[..., Any]:
    """What `package.module:name` names, imported now and not before."""
    module, name = reference.split(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found
