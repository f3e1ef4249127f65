"""Page of the report: one self-contained HTML file that needs no network."""

import json
from importlib import metadata
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup

from analysis.answers import Answers, answers
from analysis.figures.boards import only
from analysis.figures.kept import kept
from analysis.figures.style import SENTENCE
from analysis.report.blocks import BLOCKS
from analysis.report.board import leaderboards
from analysis.report.cells import rows
from analysis.report.configurations import configurations
from analysis.report.exhibits import Block, Exhibit
from analysis.report.made import made
from analysis.report.studies import Scope, notices, scopes, studies
from analysis.report.verdict import verdict
from analysis.stats import badges
from tune_qat.results.publishable import publishable
from tune_qat.results.views import naming_damage

HERE = Path(__file__).parent
ROWS_OF_PAGE = 3_000
"""Most table rows on the whole page; the files of --static have all rows."""
LONG = 24
"""Longest table that is shown open; a longer one is hidden until a reader opens it."""
SAID_ABOVE = ("study_id", "mode", "workload")


def page(results: Any, *, live: str | None = None) -> str:
    """Return the whole report as HTML.

    Args:
        results: one or more results folders or URIs, or `Answers`.
        live: version of a served page, by which it notices a newer one; None for a page that is not served.

    Raises:
        TuneQatError: as for `analysis.open`.
        UsageError: as for `analysis.open`.
    """
    asked = answers(results)
    with naming_damage(*asked.paths):
        return _page(asked, live)


def _page(asked: Answers, live: str | None) -> str:
    found, known = scopes(asked), studies(asked)
    exhibits = max(1, len(found) * sum(len(block.exhibits) for block in BLOCKS))
    cap = max(5, min(100, ROWS_OF_PAGE // exhibits))
    return _rendered(
        title=_title(list(dict.fromkeys(scope.study_id for scope in found)) or list(known["study_id"])),
        notices=notices(known, found),
        blocks=[_block(number, block, asked, found, cap) for number, block in enumerate(BLOCKS)],
        several=len(found) > 1,
        verdict=verdict(asked),
        badges=badges(asked),
        configurations=configurations(asked),
        studies=made(asked),
        paths=[publishable(str(path)) for path in asked.paths],
        live=live,
    )


def _title(studies: list[str]) -> str:
    """Name the studies; the name of one in several files may have commas."""
    return ("; " if any(", " in name for name in studies) else ", ").join(studies) or "No study"


def empty_page(why: str, *, live: str | None = None) -> str:
    """Return a page that says why there is nothing to show yet."""
    return _rendered(title="No study yet", notices=[why], blocks=[], several=False, paths=[], live=live)


def _rendered(**values: Any) -> str:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["json"] = safe_json
    return environment.get_template("page.html.j2").render(
        css=_inlined("page.css"),
        script=_inlined("page.js"),
        plotly=Markup(_plotly()),
        version=metadata.version("tune-qat"),
        **values,
    )


def safe_json(value: Any) -> Markup:
    """Return JSON for a script element, escaped so that nothing in it can end the element or begin a comment."""
    text = value if isinstance(value, str) else json.dumps(value, allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)


def _block(number: int, block: Block, asked: Answers, found: list[Scope], cap: int) -> dict[str, Any]:
    of_exhibits = (name for exhibit in block.exhibits for name in exhibit.questions)
    questions = dict.fromkeys([*block.questions, *of_exhibits])
    shown: list[Scope | None] = [None] if block.whole else list(found) if block.exhibits else []
    return {
        "number": number,
        "key": block.key,
        "short": block.short,
        "title": block.title,
        "lead": block.lead,
        "before": block.before,
        "questions": {name: asked.sql(name) for name in questions},
        "scopes": [
            {
                "title": scope.heading if scope else "",
                "exhibits": _exhibits(block, asked, scope, cap),
            }
            for scope in shown
        ],
    }


def _exhibits(block: Block, asked: Answers, scope: Scope | None, cap: int) -> list[dict[str, Any]]:
    made = [found for one in block.exhibits if (found := _exhibit(one, asked, scope, cap))]
    # A reason that several exhibits share is shown once.
    said: set[str] = set()
    whole = []
    for one in made:
        if one["missing"] not in said:
            whole.append(one)
        if one["missing"]:
            said.add(one["missing"])
    return whole


def _exhibit(exhibit: Exhibit, asked: Answers, scope: Scope | None, cap: int) -> dict[str, Any] | None:
    missing = exhibit.missing(scope) if scope else None
    where = scope.where if scope else {}
    table = pd.DataFrame() if missing else only(kept(exhibit.table, asked), where)
    if not missing and not len(table):
        missing = exhibit.empty
    folded = exhibit.folded or (exhibit.figure is None and len(table) > LONG and exhibit.name != "leaderboard")
    if missing and exhibit.folded:
        return None
    shown: dict[str, Any] = {
        "id": scope.named(exhibit.name) if scope else exhibit.name,
        "name": exhibit.name,
        "title": exhibit.title,
        "missing": missing,
        "questions": exhibit.questions,
        "folded": folded and not missing,
        "open": exhibit.figure is None and exhibit.name != "leaderboard" and not folded,
        "python": exhibit.python,
        "boards": leaderboards(table) if exhibit.name == "leaderboard" and not missing else [],
    }
    if not missing:
        shown["rows"] = rows(table, cap, SAID_ABOVE)
        if exhibit.figure is not None:
            figure = exhibit.figure(asked, **where)
            if SENTENCE in (figure.layout.meta or {}):
                shown["said"] = figure.layout.meta[SENTENCE]
            else:
                shown["figure"], shown["height"] = figure.to_json(), figure.layout.height
    return shown


def _inlined(name: str) -> Markup:
    # Files of this package, not of the record.
    return Markup((HERE / "templates" / name).read_text(encoding="utf-8"))


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    script: str = get_plotlyjs()
    return script
