"""Data frames as text: tables for the screen, CSV, JSON and Parquet."""

import numbers
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tune_qat.config import TuneQatError, UsageError
from tune_qat.text.printable import exact, printable

if TYPE_CHECKING:
    import pandas as pd

FORMATS = ("table", "csv", "json", "parquet")
MOST_ROWS = 500
"""Limit of the rows in a table on the screen: more would take seconds to lay out."""


def check_format(form: str, output: Path | None) -> None:
    """Raise `UsageError` for an unknown format, or Parquet without a file; called before the query runs."""
    if form not in FORMATS:
        raise UsageError(f"--format must be one of {', '.join(FORMATS)}, but got {form!r}.")
    if form == "parquet" and output is None:
        raise UsageError("--format parquet needs a file: -o FILE.")


def write_frame(frame: "pd.DataFrame", form: str, output: Path | None) -> None:
    """Print a frame, or write it to `output`, in a format that `check_format` allows.

    Raises:
        UsageError: two columns have the same name, which JSON and Parquet do not allow.
        TuneQatError: `output` cannot be written.
    """
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice) and form in ("json", "parquet"):
        raise UsageError(f"Two columns are called {twice[0]!r}, which {form} cannot hold. Rename one: ... AS NAME.")
    if output is None:
        # To a terminal printable; a pipe or a file gets the values as they are.
        stream = sys.stdout if form == "table" or sys.stdout.isatty() else exact(sys.stdout)
        print(_text(frame, form), file=stream)
        return
    content = frame.to_parquet(index=False) if form == "parquet" else f"{_text(frame, form)}\n".encode()
    try:
        output.write_bytes(content)
    except OSError as error:
        raise TuneQatError(f"{output} cannot be written: {error.strerror}.") from None


def table_text(frame: "pd.DataFrame", *, count: bool = True) -> str:
    """Return the frame's first rows as a plain table, numbers aligned to the right, NULL as a dash.

    With `count`, a last line says how many rows there are, and which formats have those that are not shown.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    # By position: two columns may have the same name.
    for name, dtype in zip(frame.columns, frame.dtypes, strict=True):
        side: Literal["left", "right"] = "right" if dtype.kind in "iufb" else "left"
        table.add_column(Text(printable(str(name))), justify=side, overflow="fold")
    for row in frame.head(MOST_ROWS).itertuples(index=False):
        table.add_row(*(Text(printable(cell(value))) for value in row))
    # Without a terminal, lines are not folded to its width. Nothing is bold: what is printed has no escapes.
    console = Console(width=None if sys.stdout.isatty() else 1_000, color_system=None)
    with console.capture() as capture:
        console.print(table)
        if count:
            rest = f", the first {MOST_ROWS} of them here: --format csv, json or parquet has all"
            console.print(f"{len(frame)} row{'' if len(frame) == 1 else 's'}{rest if len(frame) > MOST_ROWS else ''}")
    return "\n".join(line.rstrip() for line in capture.get().splitlines()).strip("\n")


def cell(value: object) -> str:
    """Return a value as text: NULL as a dash, fractions with four decimals, or four digits if small or large."""
    import pandas as pd

    if pd.api.types.is_scalar(value) and pd.isna(value):
        return "-"
    if not isinstance(value, numbers.Real) or isinstance(value, numbers.Integral):
        return str(value)
    number = float(value)
    return f"{number:.4f}".rstrip("0").rstrip(".") if 1 <= abs(number) < 1e6 or number == 0 else f"{number:.4g}"


def _text(frame: "pd.DataFrame", form: str) -> str:
    if form == "csv":
        return str(frame.to_csv(index=False)).rstrip("\n")
    if form == "json":
        return str(frame.to_json(orient="records", indent=2, date_format="iso"))
    return table_text(frame)
