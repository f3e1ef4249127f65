"""Prints data frames, and writes them in the formats that people ask for."""

import numbers
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tune_qat.config import TuneQatError, UsageError

if TYPE_CHECKING:
    import pandas as pd

FORMATS = ("table", "csv", "json", "parquet")
MOST_ROWS = 500
"""Of a table on the screen: the look of more takes seconds, and nobody reads them there."""


def check_format(form: str, output: Path | None) -> None:
    """`UsageError` for a format that is none, or Parquet without a file; asked before there is an answer to write."""
    if form not in FORMATS:
        raise UsageError(f"--format must be one of {', '.join(FORMATS)}, but got {form!r}.")
    if form == "parquet" and output is None:
        raise UsageError("--format parquet needs a file: -o FILE.")


def write_frame(frame: "pd.DataFrame", form: str, output: Path | None) -> None:
    """Show a frame, or write it to `output`, in a format that `check_format` has passed.

    Raises:
        UsageError: two columns of one name, in a format that cannot hold them.
        TuneQatError: `output` cannot be written.
    """
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice) and form in ("json", "parquet"):
        raise UsageError(f"Two columns are called {twice[0]!r}, which {form} cannot hold. Rename one: ... AS NAME.")
    if output is None:
        print(_text(frame, form))
        return
    content = frame.to_parquet(index=False) if form == "parquet" else f"{_text(frame, form)}\n".encode()
    try:
        output.write_bytes(content)
    except OSError as error:
        raise TuneQatError(f"{output} cannot be written: {error.strerror}.") from None


def table_text(frame: "pd.DataFrame", *, count: bool = True) -> str:
    """The frame's first rows as a plain table, numbers to the right, NULL as a dash.

    `count` for a last line with the rows, and what has those that are not shown.
    """
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    # By position: an answer may have two columns of one name.
    for name, dtype in zip(frame.columns, frame.dtypes, strict=True):
        table.add_column(Text(str(name)), justify="right" if dtype.kind in "iufb" else "left", overflow="fold")
    for row in frame.head(MOST_ROWS).itertuples(index=False):
        table.add_row(*(Text(cell(value)) for value in row))
    # Piped output is not folded to the width of a terminal that is not there.
    console = Console(width=None if sys.stdout.isatty() else 1_000, no_color=not sys.stdout.isatty())
    with console.capture() as capture:
        console.print(table)
        if count:
            rest = f", the first {MOST_ROWS} of them here: --format csv, json or parquet has all"
            console.print(f"{len(frame)} row{'' if len(frame) == 1 else 's'}{rest if len(frame) > MOST_ROWS else ''}")
    return "\n".join(line.rstrip() for line in capture.get().splitlines()).strip("\n")


def cell(value: object) -> str:
    """One value for a table: NULL as a dash, fractions to four decimals, or to four digits where they are small."""
    import pandas as pd

    if pd.api.types.is_scalar(value) and pd.isna(value):
        return "-"
    if not isinstance(value, numbers.Real) or isinstance(value, numbers.Integral):
        return str(value)
    number = float(value)
    return f"{number:.4f}".rstrip("0").rstrip(".") if 1 <= abs(number) < 1e6 or number == 0 else f"{number:.4g}"


def _text(frame: "pd.DataFrame", form: str) -> str:
    return {"table": table_text, "csv": _csv, "json": _json}[form](frame)


def _csv(frame: "pd.DataFrame") -> str:
    return str(frame.to_csv(index=False)).rstrip("\n")


def _json(frame: "pd.DataFrame") -> str:
    return str(frame.to_json(orient="records", indent=2, date_format="iso"))
