"""What a block of the page shows: a figure, the table behind it, and where both come from."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from analysis import stats
from analysis.answers import answers
from analysis.figures.kept import Statistic
from analysis.report.studies import Scope


@dataclass(frozen=True)
class Exhibit:
    """One figure or table for each workload of each study; its name is also that of its files."""

    name: str
    title: str
    table: Statistic
    questions: tuple[str, ...]
    """Bundled questions whose answers it is made from."""
    python: str
    """How to get the table in Python."""
    figure: Callable[..., Any] | None = None
    """From results, and a study and workload by name, to a plotly figure."""
    missing: Callable[[Scope], str | None] = lambda scope: None
    """What is not in the record that it would need."""
    empty: str = "The record has no rows for this."
    """What an empty table means."""
    folded: bool = False
    """Whether a table without a figure waits to be opened."""


@dataclass(frozen=True)
class Block:
    """A numbered part of the page."""

    key: str
    short: str
    title: str
    lead: str
    exhibits: tuple[Exhibit, ...]
    whole: bool = False
    """Whether its exhibits are about everything on the page, and stand once."""
    questions: tuple[str, ...] = ()
    """Bundled questions besides those of its exhibits."""
    before: str | None = None
    """Template of what stands before the exhibits, for all studies together."""


def asked(question: str) -> Statistic:
    """The table that is the answer to a bundled question."""
    return lambda results: answers(results).frame(question)


def of_question(name: str, title: str, question: str, **more: Any) -> Exhibit:
    """An exhibit whose table is the answer to a bundled question."""
    python = f'analysis.frame("RESULTS", "{question}")'
    return Exhibit(name, title, asked(question), (question,), python, **more)


def of_statistic(name: str, title: str, statistic: str, questions: tuple[str, ...], **more: Any) -> Exhibit:
    """An exhibit whose table is one of `analysis.stats`."""
    return Exhibit(name, title, getattr(stats, statistic), questions, f'analysis.stats.{statistic}("RESULTS")', **more)
