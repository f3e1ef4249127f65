"""Exhibits of the page: each is a figure, the table behind it, and the source of both."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from analysis import stats
from analysis.answers import answers
from analysis.figures.kept import Statistic
from analysis.report.studies import Scope


@dataclass(frozen=True)
class Exhibit:
    """Figure or table, shown for each workload of each study; its files have its name."""

    name: str
    title: str
    table: Statistic
    questions: tuple[str, ...]
    """Bundled questions whose answers it uses."""
    python: str
    """Python expression for the table."""
    figure: Callable[..., Any] | None = None
    """Function from results, and `study_id` and `workload` as keywords, to a plotly figure."""
    missing: Callable[[Scope], str | None] = lambda scope: None
    """Function from a scope to a sentence on what the record lacks for this exhibit, or None."""
    empty: str = "The record has no rows for this."
    """Sentence in place of an empty table."""
    folded: bool = False
    """Whether the table is hidden until a reader opens it."""


@dataclass(frozen=True)
class Block:
    """Numbered section of the page."""

    key: str
    short: str
    title: str
    lead: str
    exhibits: tuple[Exhibit, ...]
    whole: bool = False
    """Whether its exhibits cover all studies together and are shown once."""
    questions: tuple[str, ...] = ()
    """Bundled questions that it uses besides those of its exhibits."""
    before: str | None = None
    """Template of its first part, above the exhibits, for all studies together."""


def asked(question: str) -> Statistic:
    """Return a function from results to the answer to a bundled question."""
    return lambda results: answers(results).frame(question)


def of_question(name: str, title: str, question: str, **more: Any) -> Exhibit:
    """Make an exhibit whose table is the answer to a bundled question."""
    python = f'analysis.frame("RESULTS", "{question}")'
    return Exhibit(name, title, asked(question), (question,), python, **more)


def of_statistic(name: str, title: str, statistic: str, questions: tuple[str, ...], **more: Any) -> Exhibit:
    """Make an exhibit whose table is one of `analysis.stats`."""
    return Exhibit(name, title, getattr(stats, statistic), questions, f'analysis.stats.{statistic}("RESULTS")', **more)
