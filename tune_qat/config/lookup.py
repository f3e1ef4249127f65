"""Names: a line of a table, its options, a function of a module. Standard library only, so that all may import it."""

import difflib
import importlib
from collections.abc import Callable, Collection, Iterable
from typing import Any, Protocol, TypeVar

from tune_qat.config import UsageError
from tune_qat.config.shown import LONGEST, shown


class Spec(Protocol):
    """A line of a table."""

    @property
    def name(self) -> str: ...


Line = TypeVar("Line", bound=Spec)


class Table(dict[str, Line]):
    """Lines by name; a name may appear once."""

    def __init__(self, kind: str, lines: Iterable[Line]) -> None:
        super().__init__()
        self.kind = kind
        for line in lines:
            if line.name in self:
                raise ValueError(f"{kind} {line.name!r} is in the table twice")
            self[line.name] = line

    def get_spec(self, name: str) -> Line:
        """Find the line with this name; `UsageError` with the nearest name and all names where there is none."""
        if not isinstance(name, str) or name not in self:
            raise UsageError(
                f"Unknown {self.kind} {shown(name)}.{did_you_mean(str(name), self)} Known: {', '.join(self)}."
            )
        return self[name]


def check_options(kind: str, name: str, given: Iterable[str], known: Collection[str]) -> None:
    """Refuse an option that the line of this name does not have, with the nearest option and all of them."""
    for option in given:
        if option not in known:
            takes = f"It takes: {', '.join(known)}." if known else "It takes none."
            hint = did_you_mean(option, known)
            raise UsageError(f"{kind.capitalize()} {name!r} has no option {shown(option)}.{hint} {takes}")


def wrong_option(kind: str, name: str, option: str, allowed: str, value: object) -> UsageError:
    """Make the error of an option's value that is not allowed."""
    return UsageError(f"Option {option!r} of {kind} {name!r} must be {allowed}, but got {shown(value)}.")


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Ask, after a blank, whether the nearest known word was meant; empty where none is near."""
    close = difflib.get_close_matches(word, list(known), n=1) if len(word) <= LONGEST else []
    return f" Did you mean {close[0]!r}?" if close else ""


def resolve(reference: str) -> Callable[..., Any]:
    """Import what `package.module:name` names, now and not before."""
    module, name = reference.split(":")
    found: Callable[..., Any] = getattr(importlib.import_module(module), name)
    return found
