"""Page of the report: one self-contained HTML file that needs no network."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from importlib import metadata
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
from markupsafe import Markup, escape

from analysis.answers import Answers, answers
from analysis.figures.boards import only
from analysis.figures.kept import kept
from analysis.figures.style import SENTENCE
from analysis.report.answer import answer
from analysis.report.blocks import BLOCKS
from analysis.report.board import leaderboards
from analysis.report.cells import rows
from analysis.report.configurations import configurations
from analysis.report.described import describe
from analysis.report.exhibits import Block, Exhibit
from analysis.report.made import made
from analysis.report.now import Moment
from analysis.report.order import by_place, rate_first
from analysis.report.pictures import add_stills
from analysis.report.studies import Scope, notices, scopes, studies
from analysis.report.verdict import verdict
from analysis.stats import badges
from analysis.stats.names import naming
from tune_qat.results.publishable import publishable
from tune_qat.results.views import naming_damage

HERE = Path(__file__).parent
ROWS_OF_PAGE = 3_000
"""Most table rows on the whole page; the files of --static have all rows."""
LONG = 24
"""Longest table that is shown open; a longer one is hidden until a reader opens it."""
SAID_ABOVE = ("study_id", "mode", "workload")


def page(results: Any, *, live: str | None = None, now: str = "", stills: bool = False) -> str:
    """Return the whole report as HTML.

    Args:
        results: one or more results folders or URIs, or `Answers`.
        live: version of a served page, by which it notices a newer one; None for a page that is not served.
        now: what `rendered_now` returns, for a served page.
        stills: whether it holds each figure as SVG, too, for readers without scripts.

    Raises:
        TuneQatError: as for `analysis.open`; no browser for `stills`.
        UsageError: as for `analysis.open`.
    """
    asked = answers(results)
    with naming_damage(*asked.paths):
        return _page(asked, live, now, stills)


def _page(asked: Answers, live: str | None, now: str, stills: bool) -> str:
    found, known = scopes(asked), studies(asked)
    exhibits = max(1, len(found) * sum(len(block.exhibits) for block in BLOCKS))
    cap = max(5, min(100, ROWS_OF_PAGE // exhibits))
    blocks = [_block(number, block, asked, found, cap) for number, block in enumerate(BLOCKS)]
    said = verdict(asked)
    describe(blocks, said)
    if stills:
        add_stills(blocks)
    return _rendered(
        title=_title(list(dict.fromkeys(scope.study_id for scope in found)) or list(known["study_id"])),
        notices=notices(known, found),
        blocks=blocks,
        stills=stills,
        several=len(found) > 1,
        answer=answer(asked),
        verdict=said,
        badges=badges(asked),
        configurations=configurations(asked),
        studies=made(asked),
        paths=[publishable(str(path)) for path in asked.paths],
        live=live,
        now=Markup(now),
        named=naming(asked),
    )


def _title(studies: list[str]) -> str:
    """Name the studies; the name of one in several files may have commas."""
    return ("; " if any(", " in name for name in studies) else ", ").join(studies) or "No study"


def empty_page(why: str, *, live: str | None = None, now: str = "") -> str:
    """Return a page that says why there is nothing to show yet."""
    empty: dict[str, Any] = {"notices": [why], "blocks": [], "several": False, "answer": [], "paths": []}
    return _rendered(title="No study yet", **empty, live=live, now=Markup(now))


def content(whole: str) -> str:
    """Return a page without its scripts, which are most of it and never change."""
    return whole.partition("<!-- end of the content -->")[0]


def rendered_now(moments: Sequence[Moment], written: datetime | None) -> str:
    """Return the HTML of what runs now, and when the record was last written."""
    return _environment().get_template("now.html.j2").render(moments=moments, written=written)


def _environment(named: Callable[[str], str] = str) -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE / "templates"), autoescape=True, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["json"] = safe_json
    environment.filters["code"] = with_code
    environment.filters["named"] = named
    return environment


def _rendered(*, named: Callable[[str], str] = str, **values: Any) -> str:
    scripts = ("page.js", "contents.js", *(["live.js"] if values["live"] else []))
    template = _environment(named).get_template("page.html.j2")
    return template.render(
        css=_inlined("page.css") + _inlined("answer.css"),
        scripts=[_inlined(name) for name in scripts],
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


def with_code(sentence: str) -> Markup:
    """Return a sentence with what stands between backticks as code."""
    parts = sentence.split("`")
    said = [
        escape(part) if place % 2 == 0 else Markup("<code>{}</code>").format(part) for place, part in enumerate(parts)
    ]
    return Markup("").join(said) if len(parts) % 2 else escape(sentence)


def _block(number: int, block: Block, asked: Answers, found: list[Scope], cap: int) -> dict[str, Any]:
    of_exhibits = (name for exhibit in block.exhibits for name in exhibit.questions)
    questions = dict.fromkeys([*block.questions, *of_exhibits])
    shown: list[Scope | None] = [None] if block.whole else list(found) if block.exhibits else []
    parts = [
        {"title": scope.heading if scope else "", "exhibits": _exhibits(block, asked, scope, cap)} for scope in shown
    ]
    return {
        "number": number,
        "key": block.key,
        "short": block.short,
        "title": block.title,
        "lead": block.lead,
        "before": block.before,
        "questions": {name: asked.sql(name) for name in questions},
        "scopes": parts,
        "nothing": [] if block.before else _nothing(parts),
    }


def _nothing(parts: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the reasons why a block has no evidence at all, or none if some exhibit that stands open has."""
    open_ones = [(part["title"], one) for part in parts for one in part["exhibits"] if not one["folded"]]
    reasons = {title: one["missing"] or one.get("said") for title, one in reversed(open_ones)}
    if any(not (one["missing"] or one.get("said")) for _, one in open_ones):
        return []
    if len(set(reasons.values())) == 1:
        return [str(next(iter(reasons.values())))]
    return [f"{title}: {reason}" for title, reason in reversed(reasons.items())]


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
    missing = missing or _same_reason(table)
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
        shown["rows"] = rows(rate_first(by_place(table, asked)), cap, SAID_ABOVE)
        if exhibit.figure is not None:
            figure = exhibit.figure(asked, **where)
            if SENTENCE in (figure.layout.meta or {}):
                shown["said"] = figure.layout.meta[SENTENCE]
            else:
                shown["figure"], shown["height"] = figure.to_json(), figure.layout.height
    return shown


def _same_reason(table: pd.DataFrame) -> str | None:
    """Return the reason why no row of a table says anything, if all have one and the same."""
    if "reason" not in table or table["reason"].isna().any() or table["reason"].nunique() != 1:
        return None
    return f"Nothing can be said of any: {table['reason'].iloc[0]}."


def _inlined(name: str) -> Markup:
    # Files of this package, not of the record.
    return Markup((HERE / "templates" / name).read_text(encoding="utf-8"))


def _plotly() -> str:
    from plotly.offline import get_plotlyjs

    script: str = get_plotlyjs()
    return script
