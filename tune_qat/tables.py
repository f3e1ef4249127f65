"""Prints data frames, and writes them in the formats that people ask for."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tune_qat.config import TuneQatError, UsageError

if TYPE_CHECKING:
    import pandas as pd

FORMATS = ("table", "csv", "json", "parquet")


def write_frame(frame: "pd.DataFrame", form: str, output: Path | None) -> None:
    """Show or write a frame; `UsageError` for a format that is none, or Parquet without a file."""
    if form not in FORMATS:
        raise UsageError(f"--format must be one of {', '.join(FORMATS)}, but got {form!r}.")
    if form == "parquet":
        if output is None:
            raise UsageError("--format parquet needs a file: -o FILE.")
        _write(output, frame)
        return
    text = {"table": table_text, "csv": _csv, "json": _json}[form](frame)
    if output is None:
        print(text)
        return
    try:
        output.write_text(text + "\n", encoding="utf-8")
    except OSError as error:
        raise TuneQatError(f"{output} cannot be written: {error.strerror}.") from None


def table_text(frame: "pd.DataFrame", *, count: bool = True) -> str:
    """The frame as a plain table; numbers to the right, NULL as a dash, `count` for a last line with the rows."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    numeric = {name: frame[name].dtype.kind in "iufb" for name in frame.columns}
    for name in frame.columns:
        table.add_column(str(name), justify="right" if numeric[name] else "left", overflow="fold")
    for row in frame.itertuples(index=False):
        table.add_row(*(Text(cell(value)) for value in row))
    # Piped output is not folded to the width of a terminal that is not there.
    console = Console(width=None if sys.stdout.isatty() else 1_000, no_color=not sys.stdout.isatty())
    with console.capture() as capture:
        console.print(table)
        if count:
            console.print(f"{len(frame)} row{'' if len(frame) == 1 else 's'}")
    return "\n".join(line.rstrip() for line in capture.get().strip("\n").splitlines())


def cell(value: object) -> str:
    """One value for a table."""
    if value is None or value != value:
        return "-"
    if isinstance(value, float):
        return f"{value:.4f}".rstrip("0").rstrip(".") if 1e-3 <= abs(value) < 1e6 or value == 0 else f"{value:.3g}"
    return str(value)


def _csv(frame: "pd.DataFrame") -> str:
    return str(frame.to_csv(index=False)).rstrip("\n")


def _json(frame: "pd.DataFrame") -> str:
    return str(frame.to_json(orient="records", indent=2, date_format="iso"))


def _write(output: Path, frame: "pd.DataFrame") -> None:
    try:
        frame.to_parquet(output, index=False)
    except OSError as error:
        raise TuneQatError(f"{output} cannot be written: {error.strerror}.") from None
