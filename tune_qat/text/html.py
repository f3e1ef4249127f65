"""Tables as HTML, which a notebook shows: what they hold is text, whatever it looks like."""

from collections.abc import Iterable, Sequence
from html import escape


def html_table(caption: str, rows: Iterable[Sequence[object]], columns: Sequence[str] = ()) -> str:
    """Return a table whose rows begin with their names; with `columns`, their names stand above them."""
    head = "".join(f'<th scope="col">{escape(name)}</th>' for name in columns)
    body = "".join(
        f'<tr><th scope="row" style="text-align: left">{escape(str(name))}</th>'
        + "".join(f'<td style="text-align: left">{escape(str(value))}</td>' for value in values)
        + "</tr>"
        for name, *values in rows
    )
    title = f'<caption style="text-align: left">{escape(caption)}</caption>'
    return f"<table>{title}{f'<thead><tr>{head}</tr></thead>' if head else ''}<tbody>{body}</tbody></table>"
