"""The command that draws a study's leaderboards, learning rates and curves in the terminal: show."""

import re
import sys
from typing import Annotated

import typer

from tune_qat.cli.application import app
from tune_qat.config import UsageError


@app.command()
def show(
    results: Annotated[list[str], typer.Argument(help="Results folders, or their URIs.")],
    bits: Annotated[
        str | None, typer.Option(metavar="W/A", help="Boards of these bits alone, as 4/4; else all.")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Learning rates and curves of all, not of the best few.")] = False,
) -> None:
    """Draw leaderboards, learning rates and curves here.

    For each board: scores on test data with their intervals, what can be told from them, the score by learning rate of
    the best few, and how these learn. `tune-qat report` has the same, and everything behind it, as a page.
    """
    from tune_qat.cli.show_text import drawn
    from tune_qat.text.terminal import FALLBACK, width

    if bits is not None and not re.fullmatch(r"\d+/\d+", bits):
        raise UsageError(f"--bits takes bits of weights and activations, as 4/4, but got {bits!r}.")
    for block in drawn(results, bits, width=width() or FALLBACK, every=all_):
        write(block)


def write(block: str) -> None:
    """Print a block of lines, bars and marks in colours where the terminal has them."""
    from rich.console import Console
    from rich.text import Text

    from tune_qat.cli.show_text import COLOURS
    from tune_qat.text.printable import exact, printable
    from tune_qat.text.terminal import drawable, has_colours

    text = drawable(printable(block))
    if not has_colours():
        print(text)
        return
    coloured = Text(text)
    for found, style in COLOURS.items():
        coloured.highlight_regex(found, style)
    Console(file=exact(sys.stdout), color_system="standard", soft_wrap=True).print(coloured)
