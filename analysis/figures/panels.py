"""Small multiples: panels that share their axes, in as many columns as there is room for."""

import textwrap
from collections.abc import Sequence
from itertools import zip_longest
from typing import Any

import plotly.graph_objects as go

from analysis.figures.arranged import ROW_GAP, WIDTH, arranged, suffix
from analysis.figures.direct import WIDE, End, annotations
from analysis.figures.style import MUTED, figure, name, style, text

NARROW = 56
"""Letters of a line that is read on a phone, too."""
MOST_LEFT = 160
"""Pixels for names at the left, however long they are."""
PHONE = 342
"""Pixels of a figure on a phone, without its margin at the right."""


class Panels:
    """Figure of panels, usually with one scale; the page reads `meta.panels` to rearrange them on a narrow screen."""

    def __init__(
        self,
        titles: Sequence[str],
        *,
        x: dict[str, Any],
        y: dict[str, Any],
        columns: int = 5,
        row_height: int = 220,
        least: int = 170,
        shared: bool = True,
        room: int = 0,
        left: int = 64,
        top: int = 44,
        note: str = "",
        details: Sequence[str] = (),
    ) -> None:
        """Make empty panels with these titles.

        Args:
            titles: one for each panel.
            x: properties of every horizontal axis; its title is shown once.
            y: properties of every vertical axis; its title is shown once.
            columns: most panels in a row.
            row_height: height of a row in pixels.
            least: smallest width of a panel in pixels; the page takes fewer columns rather than go below it.
            shared: whether all panels have one scale.
            room: pixels at the right of each panel, for `direct`.
            left: pixels at the left of all, for the numbers or names of the vertical axis.
            top: pixels above all.
            note: sentence below all.
            details: words behind each title, in plain letters.
        """
        self.figure = figure()
        told = textwrap.wrap(note, NARROW)
        self._row, bottom = row_height, 64 + 16 * len(told)
        at = {"xref": "paper", "yref": "paper", "xanchor": "left", "yanchor": "bottom", "showarrow": False}
        at |= {"font": {"size": 12}, "align": "left"}
        letters = max(12, int((PHONE - left - room) / (2 if 2 * least <= PHONE + 16 else 1) / WIDE))
        said = zip_longest(titles, details, fillvalue="")
        heads: list[dict[str, Any]] = [
            {"text": f"<b>{_wrapped(title, letters)}</b> {text(detail)}".rstrip(), **at} for title, detail in said
        ]
        more = 14 * max((head["text"].count("<br>") for head in heads), default=0)
        top += more
        layout: dict[str, Any] = {"margin": {"l": left, "r": 16 + room, "t": top, "b": bottom}}
        for number in range(len(titles)):
            matches = shared and number > 0
            layout[f"xaxis{suffix(number)}"] = {
                "tickangle": 0,
                **_axis(x, "x", matches),
                "anchor": f"y{suffix(number)}",
            }
            layout[f"yaxis{suffix(number)}"] = {**_axis(y, "y", matches), "anchor": f"x{suffix(number)}"}
        meta = {"count": len(titles), "columns": max(1, min(columns, len(titles))), "row": row_height, "least": least}
        self.figure.update_layout(
            **layout,
            annotations=heads + _axis_titles(x, y, left, room, more) + _note(told, left, bottom),
            meta={"panels": {**meta, "shared": shared, "room": room}},
        )
        arranged(self.figure, WIDTH)

    def direct(self, panel: int, ends: Sequence[End], span: tuple[float, float]) -> list[int]:
        """Write names at the ends of lines, and return their numbers; `span` is the range of the vertical axis."""
        place = {"xref": f"x{suffix(panel)}", "yref": f"y{suffix(panel)}"}
        first = len(self.figure.layout.annotations)
        for one in annotations(ends, span, self._row - ROW_GAP):
            self.figure.add_annotation(**one, **place)
        return list(range(first, first + len(ends)))

    def add(self, panel: int, trace: Any) -> None:
        """Add a trace to the panel of this number, from 0."""
        trace.update(xaxis=f"x{suffix(panel)}", yaxis=f"y{suffix(panel)}")
        self.figure.add_trace(trace)

    def mark(self, panel: int, **line: Any) -> None:
        """Draw a straight line into a panel: `x0, x1, y0, y1`, in data coordinates unless `xref` or `yref` is given."""
        line = {"xref": f"x{suffix(panel)}", "yref": f"y{suffix(panel)}", **line}
        self.figure.add_shape(type="line", **line)

    def note(self, panel: int, x: float, y: float, words: str, anchor: str = "center") -> None:
        """Write small words just above a point of a panel, or just below it if y is 0; data coordinates."""
        place = {"xref": f"x{suffix(panel)}", "yref": f"y{suffix(panel)}", "showarrow": False}
        font = {"size": 10, "color": MUTED}
        self.figure.add_annotation(
            text=text(words), x=x, y=y, xanchor=anchor, yanchor="bottom" if y else "top", font=font, **place
        )

    def off_scale(self, panel: int, at: Sequence[float], y: float, optimizer: str, below: bool) -> None:
        """Mark points of an optimizer that lie beyond the edge `y` of a panel by triangles there."""
        drawn = {"symbol": "triangle-down" if below else "triangle-up", "color": style(optimizer).colour, "size": 7}
        look = {"mode": "markers", "marker": drawn, "cliponaxis": False, "showlegend": False, "hoverinfo": "skip"}
        if len(at):
            self.add(panel, go.Scatter(x=list(at), y=[y] * len(at), **look))

    def corner(self, panel: int, words: str) -> None:
        """Write small words in the lower right corner of a panel."""
        domain = {"xref": f"x{suffix(panel)} domain", "yref": f"y{suffix(panel)} domain", "showarrow": False}
        font = {"size": 10, "color": MUTED}
        place = {"x": 1, "y": 0, "xanchor": "right", "yanchor": "bottom"}
        self.figure.add_annotation(text=text(words), font=font, bgcolor="rgba(255,255,255,0.8)", **domain, **place)

    def shade(self, panel: int, low: float, high: float) -> None:
        """Shade a pale band between two values of a panel's horizontal axis, over its whole height."""
        place = {"xref": f"x{suffix(panel)}", "yref": f"y{suffix(panel)} domain", "x0": low, "x1": high}
        self.figure.add_shape(type="rect", **place, y0=0, y1=1, fillcolor="#efefef", line={"width": 0}, layer="below")


def rows_axis(rows: Sequence[str]) -> dict[str, Any]:
    """Return the properties of a vertical axis with a row for each text, which is escaped, the first at the top."""
    order = {"type": "category", "categoryorder": "array", "categoryarray": list(rows), "dtick": 1}
    return {**order, "range": [len(rows) - 0.4, -0.6]}


def optimizer_rows(optimizers: Sequence[str]) -> dict[str, Any]:
    """Return the properties of a vertical axis with a row for each optimizer, the first at the top."""
    return rows_axis([name(one) for one in optimizers])


def left_of(words: Sequence[str]) -> int:
    """Return the margin in pixels that such texts need at the left."""
    return round(min(MOST_LEFT, max(64, 20 + WIDE * max(map(len, words), default=0))))


def _note(lines: Sequence[str], left: int, bottom: int) -> list[dict[str, Any]]:
    if not lines:
        return []
    place = {"x": 0, "y": 0, "xshift": 8 - left, "yshift": -bottom + 4, "xanchor": "left", "yanchor": "bottom"}
    look = {"xref": "paper", "yref": "paper", "showarrow": False, "align": "left", "font": {"size": 11, "color": MUTED}}
    return [{"text": "<br>".join(map(text, lines)), **place, **look}]


def _wrapped(words: str, letters: int) -> str:
    return "<br>".join(map(text, textwrap.wrap(words, letters))) or text(words)


def _axis(properties: dict[str, Any], letter: str, matches: bool) -> dict[str, Any]:
    """Make the properties of one panel's axis; `matches` for one with the scale of the first panel's."""
    plain = {key: value for key, value in properties.items() if key != "title"}
    return {"tickfont": {"size": 11}, **plain, **({"matches": letter} if matches else {})}


def _axis_titles(x: dict[str, Any], y: dict[str, Any], left: int, room: int, more: int) -> list[dict[str, Any]]:
    """Write the titles of both axes once: below all panels, and upright above the first, to read without turning."""
    side = {"x": 0, "xanchor": "left"} if room else {"x": 1, "xanchor": "right"}
    below = {**side, "y": 0, "yshift": -60, "yanchor": "bottom"}
    above = {"x": 0, "y": 1, "xshift": 8 - left, "yshift": 24 + more, "xanchor": "left", "yanchor": "bottom"}
    said = {"showarrow": False, "font": {"color": MUTED}, "xref": "paper", "yref": "paper", "align": "left"}
    return [{"text": axis.get("title", ""), **said, **at} for at, axis in ((below, x), (above, y))]
