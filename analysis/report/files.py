"""Files of the report: every figure as PNG, SVG and PDF, every table as CSV."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import plotly.graph_objects as go

from analysis.answers import Answers, answers
from analysis.figures.boards import bits, only
from analysis.figures.kept import kept
from analysis.figures.style import SENTENCE
from analysis.report.blocks import BLOCKS
from analysis.report.pictures import ENDS, WIDTH, titled, write
from analysis.report.studies import Scope, scopes
from tune_qat.config import TuneQatError


def write_files(results: Any, folder: Path, say: Callable[[str], None], width: int = WIDTH) -> None:
    """Write `<name>.csv` of each table, and `<name>-<study>-<workload>` as PNG, SVG and PDF of each figure.

    Each picture is `width` pixels wide, of which 96 are an inch, and has its title, study and bits in it.

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
        drawn = list(_figures(asked, found, width))
        try:
            write([(figure, folder / f"{name}{end}") for name, figure in drawn for end in ENDS], width)
        except TuneQatError as error:
            raise TuneQatError(f"{error} The tables are written.") from None
    except OSError as error:
        raise TuneQatError(f"{folder} cannot be written: {error}") from None
    say(f"{folder}: {len(drawn)} figures as PNG, SVG and PDF")


def _figures(asked: Answers, found: Sequence[Scope], width: int) -> Iterator[tuple[str, go.Figure]]:
    """Yield name and picture of each figure that is more than a sentence."""
    for block in BLOCKS:
        for exhibit in block.exhibits:
            if exhibit.figure is None:
                continue
            for scope in [None] if block.whole else found:
                if scope is not None and exhibit.missing(scope) is not None:
                    continue
                where = scope.where if scope else {}
                rows = only(kept(exhibit.table, asked), where)
                figure = exhibit.figure(asked, **where) if len(rows) else None
                if figure is not None and SENTENCE not in (figure.layout.meta or {}):
                    name = scope.named(exhibit.name) if scope else exhibit.name
                    yield name, titled(figure, width, exhibit.title, _of(scope, rows, found))


def _of(scope: Scope | None, rows: pd.DataFrame, found: Sequence[Scope]) -> str:
    """Return the line below a picture's title: study, workload and bits."""
    studies = scope.heading if scope else ", ".join(dict.fromkeys(one.study_id for one in found))
    said = [f"study {studies}"]
    if {"weight_bits", "activation_bits"} <= set(rows):
        widths = dict.fromkeys(map(bits, rows.itertuples()))
        said.append(f"{', '.join(widths)} bits (weights/activations)")
    return " · ".join(said)
