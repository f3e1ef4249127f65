"""The command that reports the findings of a study: report."""

from pathlib import Path
from typing import Annotated

import typer

from tune_qat.cli.application import app
from tune_qat.config import TuneQatError, UsageError
from tune_qat.storage.paths import naming, storage_path


@app.command()
def report(
    results: Annotated[list[str], typer.Argument(help="Results folders, or their URIs.")],
    output: Annotated[Path | None, typer.Option("-o", "--output", help="report.html if left out.")] = None,
    live: Annotated[bool, typer.Option("--live", help="Serve the page to this machine; it follows the study.")] = False,
    port: Annotated[int, typer.Option(min=0, max=65535, help="Of --live; 0 takes any that is free.")] = 8321,
    static: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write each figure as PNG and SVG, each table as CSV.")
    ] = None,
) -> None:
    """Write one page with the verdict, and everything behind it.

    A single file that needs no network: which optimizer is best, whether quantization makes the difference, what was
    tuned and spent, and the SQL of every figure.
    """
    if live and (output is not None or static is not None):
        raise UsageError("report: --live serves the page and writes no file. Leave out -o and --static, or --live.")
    try:
        import jinja2  # noqa: F401 - the first import of the report
    except ModuleNotFoundError:
        raise TuneQatError("The report needs further packages: pip install 'tune-qat[analysis]'") from None
    if live:
        from analysis.report.server import serve

        folders = [storage_path(path) for path in results]
        serve(folders, port, lambda address: print(f"{address}  (Ctrl-C ends it)", flush=True))
        return
    from analysis.answers import Answers
    from analysis.report.files import write_files
    from analysis.report.page import page

    asked = Answers(*results)
    if output is not None or static is None:
        path = output or Path("report.html")
        text = page(asked)
        with naming(path):
            path.write_text(text, encoding="utf-8")
        print(path)
    if static is not None:
        write_files(asked, static, print)
