"""The `tune-qat` application that every command is registered with."""

import os
import sys
from typing import Any

import typer
from typer.core import TyperGroup

from tune_qat.config import Interrupted


class Commands(TyperGroup):
    """Group of commands that handles Ctrl-C and a closed pipe before typer does, with exit codes of its own."""

    def invoke(self, ctx: Any) -> Any:
        try:
            value = super().invoke(ctx)
            sys.stdout.flush()
            return value
        except KeyboardInterrupt as stopped:
            raise Interrupted(str(stopped) or "stopped by Ctrl-C") from None
        except BrokenPipeError:
            # The pipe is closed: the rest of the output, also that of the final flush, goes to /dev/null.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None


app = typer.Typer(
    name="tune-qat",
    cls=Commands,
    help="Which optimizer, learning rate and batch size does quantization-aware training need?",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)
