"""The `tune-qat` application that every command is registered with."""

import os
import sys
from collections.abc import Callable
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from tune_qat.cli.help_text import METAVARS, epilog, ordered
from tune_qat.config import Interrupted
from tune_qat.config.errors import is_ctrl_c

PROGRAM = "tune-qat"
"""Name of the group of all commands; that of any other group is typed before its commands."""


class Command(TyperCommand):
    """Command whose help names values by words: STUDY and N, and not the types of Python."""

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """Return the words of the usage line: the arguments as one types them."""
        return ["[OPTIONS]", *(_typed(one) for one in self.params if one.param_type_name == "argument")]

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write arguments and options, each a line."""
        rows: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": []}
        for one in self.get_params(ctx):
            record = one.get_help_record(ctx)
            if record is not None and one.param_type_name == "argument":
                rows["Arguments"].append((one.metavar or record[0], record[1]))
            elif record is not None:
                rows["Options"].append(record)
        for title, lines in rows.items():
            if lines:
                with formatter.section(title):
                    formatter.write_dl(lines)


def _typed(argument: Any) -> str:
    name = f"{argument.metavar}{'' if argument.nargs == 1 else '...'}"
    return name if argument.required else f"[{name}]"


class Commands(TyperGroup):
    """Group of commands that handles Ctrl-C and a closed pipe before typer does, with exit codes of its own."""

    def __init__(self, **given: Any) -> None:
        super().__init__(**given)
        for name, command in self.commands.items():
            command.epilog = epilog(name if self.name == PROGRAM else f"{self.name} {name}", command.epilog)
            for one in command.params:
                # A flag takes no value, and has none to name.
                if one.metavar is None and not getattr(one, "is_flag", False):
                    one.metavar = METAVARS.get(one.name or "")

    def invoke(self, ctx: Any) -> Any:
        try:
            value = super().invoke(ctx)
            sys.stdout.flush()
            return value
        except (KeyboardInterrupt, RuntimeError) as stopped:
            if not is_ctrl_c(stopped):
                raise
            said = str(stopped) if isinstance(stopped, KeyboardInterrupt) else ""
            raise Interrupted(said or "stopped by Ctrl-C") from None
        except BrokenPipeError:
            # The pipe is closed: the rest of the output, also that of the final flush, goes to /dev/null.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the commands by group, with the first sentence of each."""
        names = [name for name, command in self.commands.items() if not command.hidden]
        groups = ordered(names) if self.name == PROGRAM else {"Commands": names}
        wide = max(len(name) for names in groups.values() for name in names)
        for title, names in groups.items():
            with formatter.section(title):
                lines = [self.commands[name].get_short_help_str(formatter.width - 6 - wide) for name in names]
                formatter.write_dl([(f"{name:{wide}}", line) for name, line in zip(names, lines, strict=True)])


class Application(typer.Typer):
    """Typer whose commands are of the class `Command`, and its groups of `Commands`."""

    def __init__(self, **given: Any) -> None:
        super().__init__(
            cls=Commands,
            no_args_is_help=True,
            pretty_exceptions_enable=False,
            rich_markup_mode=None,
            context_settings={"help_option_names": ["-h", "--help"]},
            **given,
        )

    def command(self, name: str | None = None, **given: Any) -> Callable[[Any], Any]:
        """Add a command, as `typer.Typer.command` does."""
        return super().command(name, **{"cls": Command, **given})


app = Application(
    name=PROGRAM, help="Which optimizer, learning rate and batch size does quantization-aware training need?"
)


def _say_version(wanted: bool) -> None:
    if wanted:
        from tune_qat import __version__

        print(f"tune-qat {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_say_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Take the options of no command."""
