"""Pictures of figures, drawn by Chromium: for papers with a title, and still ones inside the page."""

import base64
import re
import tempfile
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import plotly.graph_objects as go

from analysis.figures.arranged import arranged
from analysis.figures.style import MUTED, text
from tune_qat.config import TuneQatError, UsageError

WIDTH = 1100
"""Width of a picture in pixels, of which 96 are an inch, if no other is asked for."""
STILL = 720
"""Width of a picture inside the page, which is not made larger there: letters are as large as the page's."""
LARGER = 3
"""Factor by which a PNG has more pixels: about 300 an inch."""
ENDS = (".png", ".svg", ".pdf")
_UNITS = {"in": 96.0, "cm": 96 / 2.54, "mm": 96 / 25.4, "pt": 96 / 72, "px": 1.0}
_LEAST = 200


def pixels(width: str) -> int:
    """Return a width as people write it, `3.3in`, `84mm`, `8.4cm`, `240pt` or `1100px`, in pixels of 1/96 inch.

    Raises:
        UsageError: it is no number with one of these units, or under 200 pixels.
    """
    found = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*(in|cm|mm|pt|px)\s*", width)
    if found is None:
        raise UsageError(f"--width {width}: a number and a unit, as 3.3in, 84mm, 8.4cm, 240pt or 1100px.")
    size = round(float(found[1]) * _UNITS[found[2]])
    if size < _LEAST:
        raise UsageError(f"--width {width}: {size} pixels leave no room for a figure. The least is 2.1in, or 200px.")
    return size


def titled(figure: go.Figure, width: int, title: str, below: str) -> go.Figure:
    """Return a copy arranged for a width in pixels, with a bold title and a line below it, both wrapped to fit."""
    drawn = arranged(go.Figure(figure), width)
    head, told = textwrap.wrap(title, int((width - 16) / 8.4)), textwrap.wrap(below, int((width - 16) / 6.2))
    taken = 14 + 17 * len(head) + 15 * len(told)
    height = (drawn.layout.height or 360) + taken
    top = drawn.layout.margin.t + taken
    drawn.update_layout(height=height, margin={"t": top})
    drawn.layout.updatemenus = None
    place = {"x": 0, "xref": "paper", "xanchor": "left", "xshift": 8 - drawn.layout.margin.l, "align": "left"}
    place |= {"y": 1, "yref": "paper", "yanchor": "top", "showarrow": False}
    bold = f"<b>{'<br>'.join(map(text, head))}</b>"
    drawn.add_annotation(text=bold, font={"size": 14}, yshift=top - 4, **place)
    small = {"size": 11, "color": MUTED}
    drawn.add_annotation(text="<br>".join(map(text, told)), font=small, yshift=top - 8 - 17 * len(head), **place)
    if drawn.layout.coloraxis.colorbar.orientation == "h":
        drawn.layout.coloraxis.colorbar.y = 1 - taken / height
    return drawn


def write(figures: Sequence[tuple[go.Figure, Path]], width: int) -> None:
    """Write figures to files whose names end in one of `ENDS`, each `width` pixels wide.

    Raises:
        TuneQatError: there is no browser, or it fails.
    """
    import plotly.io as pio

    if not figures:
        return
    drawn, paths = [figure for figure, _ in figures], [path for _, path in figures]
    scales = [LARGER if path.suffix == ".png" else 1 for path in paths]
    # Without it, the page of a PDF has another height than the figure.
    heights = [figure.layout.height for figure in drawn]
    try:
        pio.write_images(drawn, paths, width=width, height=heights, scale=scales)
    except (RuntimeError, ValueError) as error:
        # plotly raises one of these where the browser is missing or fails.
        raise TuneQatError(
            "Pictures are drawn by Chromium or Chrome, which was not found or failed. Install one, as with "
            f"apt-get install chromium, or name it in BROWSER_PATH. The error: {_short(error)}"
        ) from None


def add_stills(blocks: Iterable[Mapping[str, Any]]) -> None:
    """Give each exhibit of the page that has a figure a text `still`, the address of its SVG, which it holds itself.

    Raises:
        TuneQatError: there is no browser, or it fails.
    """
    shown = [one for block in blocks for scope in block["scopes"] for one in scope["exhibits"] if one.get("figure")]
    with tempfile.TemporaryDirectory() as folder:
        paths = [Path(folder) / f"{number}.svg" for number in range(len(shown))]
        drawn = [arranged(_loaded(one["figure"]), STILL) for one in shown]
        for figure in drawn:
            figure.layout.updatemenus = None
        write(list(zip(drawn, paths, strict=True)), STILL)
        for one, path in zip(shown, paths, strict=True):
            one["still"] = "data:image/svg+xml;base64," + base64.b64encode(path.read_bytes()).decode()


def _loaded(figure: str) -> go.Figure:
    import plotly.io as pio

    return pio.from_json(figure)


def _short(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
