"""Small multiples: panels that share their axes, in as many columns as there is room for."""

from collections.abc import Sequence
from typing import Any

from analysis.figures.style import MUTED, figure, text


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
        legend: bool = False,
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
            legend: whether to leave room for a legend above the panels.
        """
        self.figure = figure()
        count, columns = len(titles), max(1, min(columns, len(titles)))
        rows = -(-count // columns)
        top, bottom = 72 if legend else 44, 64
        height = rows * row_height + top + bottom
        gap_x, gap_y = 0.03 if shared else 0.05, 48 / (rows * row_height)
        width, tall = (1 - gap_x * (columns - 1)) / columns, (1 - gap_y * (rows - 1)) / rows
        layout: dict[str, Any] = {"height": height, "margin": {"l": 64, "r": 16, "t": top, "b": bottom}}
        annotations = []
        for number, title in enumerate(titles):
            row, column = divmod(number, columns)
            left, high = column * (width + gap_x), 1 - row * (tall + gap_y)
            matches = shared and number > 0
            layout[f"xaxis{_suffix(number)}"] = {
                "tickangle": 0,
                **_axis(x, "x", matches),
                "domain": [left, left + width],
                "anchor": f"y{_suffix(number)}",
                "showticklabels": not shared or number + columns >= count,
            }
            layout[f"yaxis{_suffix(number)}"] = {
                **_axis(y, "y", matches),
                "domain": [max(0.0, high - tall), high],
                "anchor": f"x{_suffix(number)}",
                "showticklabels": not shared or column == 0,
            }
            at = {"x": left, "y": high, "xref": "paper", "yref": "paper", "xanchor": "left", "yanchor": "bottom"}
            annotations.append({"text": f"<b>{text(title)}</b>", "font": {"size": 12}, "showarrow": False, **at})
        meta = {"panels": {"count": count, "columns": columns, "row": row_height, "least": least, "shared": shared}}
        self.figure.update_layout(**layout, annotations=annotations + _axis_titles(x, y, bottom), meta=meta)

    def add(self, panel: int, trace: Any) -> None:
        """Add a trace to the panel of this number, from 0."""
        trace.update(xaxis=f"x{_suffix(panel)}", yaxis=f"y{_suffix(panel)}")
        self.figure.add_trace(trace)

    def mark(self, panel: int, **line: Any) -> None:
        """Draw a straight line into a panel: `x0, x1, y0, y1`, in data coordinates unless `xref` or `yref` is given."""
        line = {"xref": f"x{_suffix(panel)}", "yref": f"y{_suffix(panel)}", **line}
        self.figure.add_shape(type="line", **line)

    def note(self, panel: int, x: float, y: float, words: str) -> None:
        """Write small words just above a point of a panel, or just below it if y is 0; data coordinates."""
        place = {"xref": f"x{_suffix(panel)}", "yref": f"y{_suffix(panel)}", "showarrow": False}
        font = {"size": 10, "color": MUTED}
        self.figure.add_annotation(
            text=text(words), x=x, y=y, yanchor="bottom" if y else "top", font=font, bgcolor="white", **place
        )

    def beyond(self, panel: int, x: float, words: str, below: bool) -> None:
        """Write small words at the lower or upper edge of a panel, about a value beyond it."""
        place = {"xref": f"x{_suffix(panel)}", "yref": f"y{_suffix(panel)} domain", "showarrow": False}
        edge = {"y": 0, "yanchor": "bottom"} if below else {"y": 1, "yanchor": "top"}
        self.figure.add_annotation(text=text(words), x=x, **edge, font={"size": 11}, bgcolor="white", **place)

    def corner(self, panel: int, words: str) -> None:
        """Write small words in the lower right corner of a panel."""
        domain = {"xref": f"x{_suffix(panel)} domain", "yref": f"y{_suffix(panel)} domain", "showarrow": False}
        font = {"size": 10, "color": MUTED}
        place = {"x": 1, "y": 0, "xanchor": "right", "yanchor": "bottom"}
        self.figure.add_annotation(text=text(words), font=font, bgcolor="rgba(255,255,255,0.8)", **domain, **place)

    def shade(self, panel: int, low: float, high: float) -> None:
        """Shade a pale band between two values of a panel's horizontal axis, over its whole height."""
        place = {"xref": f"x{_suffix(panel)}", "yref": f"y{_suffix(panel)} domain", "x0": low, "x1": high}
        self.figure.add_shape(type="rect", **place, y0=0, y1=1, fillcolor="#efefef", line={"width": 0}, layer="below")


def rows_axis(names: Sequence[str]) -> dict[str, Any]:
    """Return the properties of a vertical axis with a row for each name, the first at the bottom."""
    drawn = [text(name) for name in names]
    order = {"type": "category", "categoryorder": "array", "categoryarray": drawn, "dtick": 1}
    return {**order, "range": [-0.6, len(drawn) - 0.4]}


def _axis(properties: dict[str, Any], letter: str, matches: bool) -> dict[str, Any]:
    """Make the properties of one panel's axis; `matches` for one with the scale of the first panel's."""
    plain = {key: value for key, value in properties.items() if key != "title"}
    return {"tickfont": {"size": 11}, **plain, **({"matches": letter} if matches else {})}


def _axis_titles(x: dict[str, Any], y: dict[str, Any], bottom: int) -> list[dict[str, Any]]:
    """Write the titles of both axes once: below all panels, and upright above the first, to read without turning."""
    below = {"x": 0.5, "y": 0, "yshift": -bottom + 4, "yanchor": "bottom"}
    above = {"x": 0, "y": 1, "xshift": -56, "yshift": 24, "xanchor": "left", "yanchor": "bottom"}
    said = {"showarrow": False, "font": {"color": MUTED}, "xref": "paper", "yref": "paper"}
    return [{"text": axis.get("title", ""), **said, **at} for at, axis in ((below, x), (above, y))]


def _suffix(number: int) -> str:
    return "" if number == 0 else str(number + 1)
