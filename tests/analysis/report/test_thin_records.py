"""What a record lacks is said: no question, table, figure or page ends in a traceback or makes up an interval."""

import html
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any

import pandas as pd
import pytest

from analysis import figures, stats
from analysis.answers import Answers
from analysis.bundled import queries
from analysis.report.page import page
from tests.analysis.report.thin_records import RECORDS
from tune_qat.config import TuneQatError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", params=RECORDS)
def thin(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Answers]:
    """What the record lacks, and the record."""
    results = tmp_path_factory.mktemp("thin")
    RECORDS[request.param][0](results)
    return request.param, Answers(results)


@pytest.fixture(scope="module")
def answered(thin: tuple[str, Answers]) -> dict[str, Any]:
    """What every question and every table of statistics says of the record, if it does not say why it cannot."""
    asked: dict[str, Callable[[], Any]] = {f"question {name}": partial(thin[1].frame, name) for name in queries()}
    asked |= {f"stats.{name}": partial(getattr(stats, name), thin[1]) for name in stats.__all__ if name.islower()}
    answers = {}
    for name, ask in asked.items():
        with suppress(TuneQatError):
            answers[name] = ask()
    return answers


def test_every_question_and_table_answers_or_says_why_not(answered: dict[str, Any]) -> None:
    for name, answer in answered.items():
        assert isinstance(answer, pd.DataFrame | list | dict), name


def test_no_interval_without_the_runs_for_it(answered: dict[str, Any]) -> None:
    for name, answer in answered.items():
        if (
            not isinstance(answer, pd.DataFrame)
            or not {"n", "ci_low"} <= set(answer.columns)
            or name in ("question divergence", "stats.collapses", "stats.chances")
        ):
            continue  # a share of one trial has an interval, Wilson's or the exact one: nearly all of 0 to 1
        alone = answer[answer["n"] < 2]
        assert alone[["ci_low", "ci_high"]].isna().all().all(), name


def test_no_verdict_calls_one_better_without_two_seeds(thin: tuple[str, Answers]) -> None:
    lacks, answers = thin
    found = stats.verdicts(answers)
    if lacks in ("retrain alone", "one optimizer", "floating point alone", "two seeds"):
        return  # their boards have seeds
    for one in found:
        assert "is better" not in one.sentence and "are better" not in one.sentence, one.sentence


def test_every_figure_is_drawn_or_says_why_not(thin: tuple[str, Answers]) -> None:
    for name in figures.__all__:
        try:
            figure = getattr(figures, name)(thin[1])
        except TuneQatError:
            continue
        assert figure.to_dict() is not None, name


def test_there_is_a_page_that_says_what_is_missing(thin: tuple[str, Answers]) -> None:
    lacks, answers = thin
    text = html.unescape(page(answers))
    assert text.count("</html>") == 1
    assert [words for words in RECORDS[lacks][1] if words not in text] == []
