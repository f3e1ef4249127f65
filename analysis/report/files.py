"""Every figure of the report as PNG and SVG, and every table as CSV."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from analysis.answers import Answers, answers
from analysis.figures.boards import only
from analysis.figures.kept import kept
from analysis.report.blocks import BLOCKS
from analysis.report.studies import Scope, scopes
from tune_qat.config import TuneQatError

WIDTH, SCALE = 1100, 2
"""Of a PNG: pixels of the layout, and how many of the file each of them is wide."""


def write_files(results: Any, folder: Path, say: Callable[[str], None]) -> None:
    """Write `<name>.csv` of each table, and `<name>-<study>-<workload>.png` and `.svg` of each figure.

    Raises:
        TuneQatError: as `analysis.open`; the folder cannot be written; no browser draws figures (tables are written).
    """
    asked = answers(results)
    found = scopes(asked)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tables = [exhibit for block in BLOCKS for exhibit in block.exhibits]
        for exhibit in tables:
            kept(exhibit.table, asked).to_csv(folder / f"{exhibit.name}.csv", index=False)
        say(f"{folder}: {len(tables)} tables as CSV")
        drawn = _draw(list(_figures(asked, found)), folder)
    except OSError as error:
        raise TuneQatError(f"{folder} cannot be written: {error}") from None
    say(f"{folder}: {drawn} figures as PNG and SVG")


def _figures(asked: Answers, found: Sequence[Scope]) -> Iterator[tuple[str, go.Figure]]:
    for block in BLOCKS:
        for exhibit in block.exhibits:
            if exhibit.figure is None:
                continue
            for scope in [None] if block.whole else found:
                where = scope.where if scope else {}
                if (scope is None or exhibit.missing(scope) is None) and len(only(kept(exhibit.table, asked), where)):
                    yield "-".join([exhibit.name, *where.values()]), exhibit.figure(asked, **where)


def _draw(figures: Sequence[tuple[str, go.Figure]], folder: Path) -> int:
    import plotly.io as pio

    named = [(figure, folder / f"{name}{end}") for name, figure in figures for end in (".png", ".svg")]
    if not named:
        return 0
    try:
        pio.write_images([figure for figure, _ in named], [path for _, path in named], width=WIDTH, scale=SCALE)
    except (RuntimeError, ValueError) as error:
        # plotly tells a browser that is absent, or fails, in one of these.
        raise TuneQatError(
            "PNG and SVG are drawn by Chromium or Chrome, which was not found or failed. Install one, as with "
            f"apt-get install chromium, or name it in BROWSER_PATH. The tables are written. It said: {_short(error)}"
        ) from None
    return len(figures)


def _short(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
