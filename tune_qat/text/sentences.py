"""Sentences in lines of whole words."""

import shutil
import sys
import textwrap
from typing import TextIO

WIDTH = 118
"""Limit of the letters in a line of sentences."""
COMMANDS = ("tune-qat ", "python -", "pip install ")
"""Beginnings of commands: a line that has one is there to be copied."""


def filled(sentences: str, stream: TextIO | None = None, indent: str = "") -> str:
    """Return sentences in lines of whole words, on a terminal none longer than it shows but for a long word.

    `stream` is where they go, standard output if it is left out; lines but the first begin with `indent`.
    """
    columns = shutil.get_terminal_size((WIDTH, 1)).columns if (stream or sys.stdout).isatty() else WIDTH
    width = max(20, min(WIDTH, columns))
    return textwrap.fill(sentences, width, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False)


def fitted(text: str, stream: TextIO | None = None) -> str:
    """Return a text of which no line on a terminal ends within a word; elsewhere as it is.

    What a line too long goes on with stands below it, two spaces further in where it is indented. Lines with a command
    are left whole, so that they can be copied. `stream` is where it goes, standard output if it is left out.
    """
    if not (stream or sys.stdout).isatty():
        return text
    columns = shutil.get_terminal_size((WIDTH, 1)).columns
    return "\n".join(
        line if len(line) <= columns or any(one in line for one in COMMANDS) else filled(line, stream, _hanging(line))
        for line in text.split("\n")
    )


def _hanging(line: str) -> str:
    indent = line[: len(line) - len(line.lstrip())]
    return f"{indent}  " if indent else ""
