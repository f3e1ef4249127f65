"""Files of the report: every figure as PNG and SVG, every table as CSV."""

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
"""Width of a figure's layout in pixels, and the factor by which a PNG is larger."""


def write_files(results: Any, folder: Path, say: Callable[[str], None]) -> None:
    """Write `<name>.csv` of each table, and `<name>-<study>-<workload>.png` and `.svg` of each figure.

    Raises:
        TuneQatError: as for `analysis.open`; the folder cannot be written; no browser for figures (tables are written).
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
                    name = scope.named(exhibit.name) if scope else exhibit.name
                    yield name, exhibit.figure(asked, **where)


def _draw(figures: Sequence[tuple[str, go.Figure]], folder: Path) -> int:
    import plotly.io as pio

    named = [(figure, folder / f"{name}{end}") for name, figure in figures for end in (".png", ".svg")]
    if not named:
        return 0
    try:
        pio.write_images([figure for figure, _ in named], [path for _, path in named], width=WIDTH, scale=SCALE)
    except (RuntimeError, ValueError) as error:
        # plotly raises one of these where the browser is missing or fails.
        raise TuneQatError(
            "PNG and SVG are drawn by Chromium or Chrome, which was not found or failed. Install one, as with "
            f"apt-get install chromium, or name it in BROWSER_PATH. The tables are written. The error: {_short(error)}"
        ) from None
    return len(figures)


def _short(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
