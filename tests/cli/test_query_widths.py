"""Every bundled question on terminals of three widths, of the published record."""

import re
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

import analysis
from analysis.answers import Answers
from tests.helpers.pseudo_terminal import pseudo_terminal
from tune_qat import cli
from tune_qat.cli import verdict_text
from tune_qat.text.tables import columns_of

RECORD = Path(__file__).parents[2] / "docs" / "results" / "espcn_photos" / "record"
pytestmark = pytest.mark.slow
told = cache(verdict_text.in_words)


@pytest.fixture(scope="module")
def asked() -> Answers:
    """Answers about the record, each question asked once."""
    return Answers(RECORD)


@pytest.fixture
def shown(asked: Answers, monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[str]]:
    """The lines that `query` shows on a terminal of a width; nothing else than text and line feeds came."""
    monkeypatch.setattr(analysis, "frame", lambda _, question: asked.frame(question))
    monkeypatch.setattr(verdict_text, "in_words", lambda _, question: told(asked, question))
    monkeypatch.delenv("COLUMNS", raising=False)

    def show(width: int, *words: str, term: str = "xterm-256color") -> list[str]:
        monkeypatch.setenv("TERM", term)
        monkeypatch.setattr(sys, "argv", ["tune-qat", "query", str(RECORD), *words])
        with pseudo_terminal(width) as screen, pytest.raises(SystemExit) as ended:
            cli.main()
        assert not ended.value.code and not re.search(r"[\x00-\x09\x0b-\x1f]", screen.text)
        return screen.lines

    return show


@pytest.mark.parametrize("width", [60, 80, 120])
def test_every_question_fits(asked: Answers, shown: Callable[..., list[str]], width: int) -> None:
    for name in (*analysis.queries(), "verdicts", "badges"):
        lines = shown(width, name)
        assert lines and max(map(len, lines)) <= width, name
        if name in ("verdicts", "badges"):
            continue
        # Whatever is shown of a column of numbers is a whole cell of the answer, never a part of one.
        frame = asked.frame(name)
        cells = {cell for column in columns_of(frame.head(500)) if column.numbers for cell in column.cells}
        rule = next((place for place, line in enumerate(lines) if set(line) == {"─", " "}), len(lines))
        for line in lines[rule + 1 :]:
            numbers = re.findall(r"(?<=  )-?\d+(?:\.\d+)?(?:e[+-]\d+)?(?=  |$)", line)
            assert {*numbers} <= cells, (name, line)


def test_a_question_of_one_row_is_whole_at_any_width(shown: Callable[..., list[str]]) -> None:
    lines = shown(60, "environments")
    assert {line.split()[0] for line in lines[:-2]} >= {"git_commit", "torch_version", "first_started", "environments"}


def test_what_is_left_out_is_had_in_other_ways(asked: Answers, shown: Callable[..., list[str]]) -> None:
    narrow = shown(80, "tuning_scores")
    at = next(place for place, line in enumerate(narrow) if "more columns: --wide, --columns, --format csv" in line)
    left_out = " ".join(narrow[at + 1 :]).split(", ")
    assert {"arm_id", "trial_key"} <= {one.strip() for one in left_out}
    assert "trial_key" in shown(80, "tuning_scores", "--wide")[2]
    assert "trial_key" in shown(80, "tuning_scores", "--columns", "optimizer,trial_key,score")[0]


@pytest.mark.parametrize("term", ["dumb", "xterm"])
def test_terminals_without_colours_get_the_same(
    shown: Callable[..., list[str]], monkeypatch: pytest.MonkeyPatch, term: str
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    lines = shown(60, "leaderboard", term=term)
    assert max(map(len, lines)) <= 60 and lines[-2:] == [
        "2 more columns: --wide, --columns, --format csv",
        "  ci_low, ci_high",
    ]


def test_a_pipe_gets_every_column_and_no_line_is_folded(
    shown: Callable[..., list[str]], capsys: pytest.CaptureFixture[str], asked: Answers
) -> None:
    with pytest.raises(SystemExit):
        sys.argv[1:] = ["query", str(RECORD), "tuning_scores"]
        cli.main()
    lines = capsys.readouterr().out.splitlines()
    assert "params_json" in lines[2] and "more columns" not in lines[-1]
