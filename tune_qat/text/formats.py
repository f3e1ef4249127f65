"""Answers in the formats of `query`: a table for the screen, CSV, JSON, Parquet."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from tune_qat.config import TuneQatError, UsageError
from tune_qat.text.answers import answer_text
from tune_qat.text.printable import exact
from tune_qat.text.terminal import is_terminal, width

if TYPE_CHECKING:
    import pandas as pd

FORMATS = ("table", "csv", "json", "parquet")


def check_format(form: str, output: Path | None) -> None:
    """Raise `UsageError` for an unknown format, or Parquet without a file; called before the query runs."""
    if form not in FORMATS:
        raise UsageError(f"--format must be one of {', '.join(FORMATS)}, but got {form!r}.")
    if form == "parquet" and output is None:
        raise UsageError("--format parquet needs a file: -o FILE.")


def write_frame(
    frame: "pd.DataFrame", form: str, output: Path | None, *, wide: bool = False, blocks: bool = False
) -> None:
    """Print a frame, or write it to `output`, in a format that `check_format` allows.

    A table on a terminal fits it, unless it is to be `wide`; in a pipe or a file it has all columns. With `blocks` each
    row of it is written column by column.

    Raises:
        UsageError: two columns have the same name, which JSON and Parquet do not allow.
        TuneQatError: `output` cannot be written.
    """
    twice = frame.columns[frame.columns.duplicated()]
    if len(twice) and form in ("json", "parquet"):
        raise UsageError(f"Two columns are called {twice[0]!r}, which {form} cannot hold. Rename one: ... AS NAME.")
    if output is None:
        # To a terminal printable; a pipe or a file gets the values as they are.
        stream = sys.stdout if form == "table" or is_terminal() else exact(sys.stdout)
        print(_text(frame, form, None if wide else width(), blocks=blocks), file=stream)
        return
    content = frame.to_parquet(index=False) if form == "parquet" else f"{_text(frame, form, None, blocks=blocks)}\n"
    try:
        output.write_bytes(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        raise TuneQatError(f"{output} cannot be written: {error.strerror}.") from None


def _text(frame: "pd.DataFrame", form: str, width: int | None, *, blocks: bool) -> str:
    if form == "csv":
        return str(frame.to_csv(index=False)).rstrip("\n")
    if form == "json":
        return str(frame.to_json(orient="records", indent=2, date_format="iso"))
    return answer_text(frame, width, blocks=blocks)
