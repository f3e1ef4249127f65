"""The command that reports the findings of a study: report."""

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from tune_qat.cli.application import app
from tune_qat.config import TuneQatError, UsageError
from tune_qat.storage.paths import naming, storage_path

_EXTRA = ("jinja2", "opda", "plotly", "scikit_posthocs", "statsmodels")
"""Packages of the extra `analysis` that every report needs; torch brings jinja2 in any case."""


@app.command()
def report(
    results: Annotated[list[str], typer.Argument(help="Results folders, or their URIs.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="report.html if left out.")] = None,
    live: Annotated[bool, typer.Option("--live", help="Serve the page to this machine; it follows the study.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of --live; 0 takes any that is free.")] = 8321,
    static: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write each figure as PNG, SVG and PDF, each table as CSV.")
    ] = None,
    width: Annotated[
        str | None, typer.Option(metavar="WIDTH", help="Width of the figures of --static, as 3.3in, 84mm or 1100px.")
    ] = None,
    embed_static: Annotated[
        bool,
        typer.Option("--embed-static", help="Put each figure into the page as SVG, too: it needs no scripts then."),
    ] = False,
) -> None:
    """Write one page with the verdict, and everything behind it.

    A single file that needs no network: which optimizer is best, whether quantization makes the difference, what was
    tuned and spent, and the SQL of every figure.
    """
    if live and (output is not None or static is not None or embed_static):
        raise UsageError(
            "report: --live serves the page and writes no file. Leave out -o, --static and --embed-static, or --live."
        )
    if width is not None and static is None:
        raise UsageError(f"report: --width {width} is that of the figures of --static DIR, which is missing.")
    _check_extra(static is not None or embed_static)
    if live:
        from analysis.report.server import serve

        folders = [storage_path(path) for path in results]
        serve(folders, port, lambda address: print(f"{address}  (Ctrl-C ends it)", flush=True))
        return
    from analysis.answers import Answers
    from analysis.report.files import write_files
    from analysis.report.page import page
    from analysis.report.pictures import WIDTH, pixels
    from tune_qat.results.views import naming_damage

    size = WIDTH if width is None else pixels(width)
    asked = Answers(*results)
    if output is not None or static is None:
        path = output or Path("report.html")
        text = page(asked, stills=embed_static)
        with naming(path):
            path.write_text(text, encoding="utf-8")
        print(path)
    if static is not None:
        with naming_damage(*asked.paths):
            write_files(asked, static, print, size)


def _check_extra(pictures: bool) -> None:
    """Raise `TuneQatError` that names the packages of the extra `analysis` which the report needs and are missing."""
    needed = (*_EXTRA, "kaleido") if pictures else _EXTRA
    missing = [name for name in needed if find_spec(name) is None]
    if missing:
        raise TuneQatError(f"The report needs {', '.join(missing)}: pip install 'tune-qat[analysis]'")
