"""Commands about the record: query."""

from pathlib import Path
from typing import Annotated

import typer

from tune_qat.cli.application import app
from tune_qat.config import UsageError


@app.command()
def query(
    results: Annotated[str | None, typer.Argument(help="A results folder, or its URI.")] = None,
    question: Annotated[str | None, typer.Argument(help="SQL, or the name of a bundled question.")] = None,
    format_: Annotated[str, typer.Option("--format", help="table, csv, json or parquet.")] = "table",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="File to write instead of the screen.")] = None,
    list_questions: Annotated[bool, typer.Option("--list", help="The bundled questions.")] = False,
) -> None:
    """Ask the record in SQL, or by the name of a bundled question."""
    import analysis
    from tune_qat.tables import check_format, write_frame

    if list_questions:
        for name, text in analysis.queries().items():
            print(f"{name:24} {text}")
        return
    if results is None or question is None:
        known = ", ".join(analysis.queries())
        raise UsageError(f"query takes a results folder and a question: SQL, or one of {known} (see --list).")
    check_format(format_, output)
    write_frame(analysis.frame(results, question), format_, output)
