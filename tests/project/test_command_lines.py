"""Command lines of the documentation, parsed by the real command line: every option exists, every value is one."""

import re
import shlex
from typing import Any

import pytest
import typer
from typer._click.exceptions import MissingParameter

import analysis
from tests.project.pages import ROOT, blocks, commands, pages, prose
from tune_qat import cli
from tune_qat.cli.verdict_text import IN_WORDS
from tune_qat.study.file import bundled

PROGRAMS = {"tune-qat", "python", "python3", "pip", "bash", "docker", "tensorboard", "wandb", "optuna-dashboard"}
"""Programs of blocks."""


def parse(words: list[str]) -> None:
    """Parse a command line by the command itself, and look up what it names."""
    command: Any = typer.main.get_command(cli.app)
    if words[:1] in (["--install-completion"], ["--version"]) or words[-1] in ("-h", "--help"):
        return
    while hasattr(command, "commands"):
        if not words:
            return  # a group of commands is named
        assert words[0] in command.commands, f"no command {words[:1]}"
        command, words = command.commands[words[0]], words[1:]
    if not words:
        return  # the command is named, and not typed
    given = command.make_context(command.name, list(words)).params
    space = given.get("space")
    if space and space.islower() and not space.endswith(".toml"):
        assert space in bundled(), f"no bundled study {space}"
    for question in filter(None, [given.get("question")]):
        known = {*analysis.queries(), *IN_WORDS}
        assert question in known or " " in question or question.endswith(".sql") or question.isupper(), question


def test_command_lines_parse() -> None:
    parsed = 0
    for block in (block for block in blocks("bash") if block.mark != "not run"):
        for program, *words in commands(block):
            assert program in PROGRAMS, f"{block}: {program}"
            if program == "tune-qat":
                try:
                    parse(words)
                except Exception as error:
                    raise AssertionError(f"{block}: tune-qat {shlex.join(words)}: {error}") from error
                parsed += 1
            for path in (word for word in words if word.startswith(("tests/", ".ci/", "docs/"))):
                assert (ROOT / path).exists(), f"{block}: {path}"
    assert parsed > 70


def test_command_lines_within_the_text_parse() -> None:
    """Those in `...`, but for such that leave something open."""
    parsed = 0
    for page in pages():
        for line in re.findall(r"`tune-qat ([^`]+)`", prose(page).replace("\n", " ")):
            if re.search(r"\.\.\.|\[|^COMMAND|^[A-Z]+$", line) or page.name == "CHANGELOG.md":
                continue
            try:
                parse(shlex.split(line))
            except MissingParameter:
                continue  # an option is named, and the whole line not typed
            except Exception as error:
                raise AssertionError(f"{page.name}: tune-qat {line}: {error}") from error
            parsed += 1
    assert parsed > 40


@pytest.mark.parametrize("line", ["run quickstart --trails 3", "query results leaderbord", "plan quickstrat", "rnu x"])
def test_a_wrong_command_line_is_found(line: str) -> None:
    with pytest.raises(Exception, match="trails|leaderbord|quickstrat|rnu"):
        parse(shlex.split(line))
