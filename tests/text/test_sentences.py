"""Sentences in lines of whole words."""

import io

import pytest

from tune_qat.text.sentences import filled, fitted


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setenv("COLUMNS", "40")
    return Terminal()


def test_on_a_terminal_no_line_ends_within_a_word(narrow: Terminal) -> None:
    said = "study vit: complete; pretrained start: completed; calibrated models: 10 completed"
    assert fitted(said, narrow).split("\n") == [
        "study vit: complete; pretrained start:", "completed; calibrated models: 10", "completed",
    ]  # fmt: skip
    below = f"stages:\n  {said}\n\nend\n"
    lines = fitted(below, narrow).split("\n")
    assert lines[0] == "stages:" and lines[1].startswith("  study") and lines[2].startswith("    completed;")
    assert lines[-3:] == ["", "end", ""] and max(map(len, lines)) <= 40
    assert fitted(said, io.StringIO()) == said, "a pipe has no width"


def test_lines_that_fit_and_commands_stay_as_they_are(narrow: Terminal) -> None:
    table = f"{'a':>20}{'b':>20}"
    command = "resume   tune-qat run a_study_with_a_long_name --results results --max-concurrent 2"
    assert fitted(f"{table}\n{command}", narrow) == f"{table}\n{command}"


def test_a_wide_terminal_keeps_wide_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    table = "x" * 60 + " " * 20 + "y" * 100
    assert fitted(table, Terminal()) == table
    assert max(map(len, filled("word " * 60, Terminal()).split("\n"))) <= 118, "long lines of words are hard to read"
