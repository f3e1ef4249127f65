"""The terminal that standard output is."""

import io
import sys

import pytest

from tests.helpers.pseudo_terminal import pseudo_terminal
from tune_qat.text import terminal


def test_a_pipe_has_no_width_and_no_colours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert terminal.width() is None
    assert not terminal.has_colours()


@pytest.mark.parametrize("term", ["xterm-256color", "dumb"])
def test_a_terminal_says_how_wide_it_is(monkeypatch: pytest.MonkeyPatch, term: str) -> None:
    monkeypatch.setenv("TERM", term)
    monkeypatch.delenv("COLUMNS", raising=False)
    with pseudo_terminal(60):
        assert terminal.width() == 60
        monkeypatch.setenv("COLUMNS", "97")
        assert terminal.width() == 97


@pytest.mark.parametrize(
    ("term", "no_color", "colours"),
    [("xterm", "", True), ("xterm", "1", False), ("dumb", "", False)],
)
def test_colours_are_for_terminals_that_have_them(
    monkeypatch: pytest.MonkeyPatch, term: str, no_color: str, colours: bool
) -> None:
    monkeypatch.setenv("TERM", term)
    monkeypatch.setenv("NO_COLOR", no_color)
    with pseudo_terminal(80):
        assert terminal.has_colours() == colours


def test_rules_and_marks_are_drawn_with_what_the_output_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    assert terminal.drawable("── …") == "-- ~"
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    assert terminal.drawable("── …") == "── …"
