"""Commands about the record: query, compact."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tune_qat.cli.application import Command, app
from tune_qat.cli.options import Results
from tune_qat.config import TuneQatError, UsageError
from tune_qat.config.lookup import did_you_mean
from tune_qat.storage.paths import storage_path

if TYPE_CHECKING:
    import pandas as pd


class QueryCommand(Command):
    """The command `query`, which takes SQL that begins with a comment for SQL, and for no option."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse arguments, a blank before a comment of SQL."""
        return super().parse_args(ctx, [f" {one}" if _is_comment(one) else one for one in args])


def _is_comment(argument: str) -> bool:
    return argument.startswith("--") and (argument[2:3].isspace() or "\n" in argument)


@app.command(cls=QueryCommand)
def query(
    results: Annotated[list[str] | None, typer.Argument(help="Results folders, or their URIs.")] = None,
    question: Annotated[
        str | None, typer.Argument(help="SQL, a file.sql, the name of a bundled question, verdicts or badges.")
    ] = None,
    format_: Annotated[str, typer.Option("--format", help="table, csv, json or parquet.")] = "table",
    output: Annotated[Path | None, typer.Option("-o", "--output", help="File to write instead of the screen.")] = None,
    columns: Annotated[
        str | None, typer.Option(metavar="NAME,NAME", help="Columns to show, in this order; else all.")
    ] = None,
    wide: Annotated[bool, typer.Option("--wide", help="All columns, however long the lines get.")] = False,
    list_questions: Annotated[bool, typer.Option("--list", help="The bundled questions.")] = False,
    tables: Annotated[bool, typer.Option("--tables", help="The tables and what each column holds.")] = False,
) -> None:
    """Ask the record in SQL, or by the name of a bundled question.

    A table fits the terminal: what is the same in all rows is its heading, and columns that have no room are named.
    """
    if tables:
        print(_tables())
        return
    import analysis
    from tune_qat.cli.verdict_text import IN_WORDS, in_words
    from tune_qat.text.formats import check_format, write_frame

    if list_questions:
        for name, text in {**analysis.queries(), **IN_WORDS}.items():
            print(f"{name:24} {text}")
        return
    if not results or question is None:
        known = ", ".join([*analysis.queries(), *IN_WORDS])
        raise UsageError(
            f"query takes results folders and then a question: SQL, or one of {known} (see --list), or a file.sql."
        )
    check_format(format_, output)
    answer = in_words(results, question) if question in IN_WORDS else analysis.frame(results, question)
    write_frame(_chosen(answer, columns), format_, output, wide=wide, blocks=question in IN_WORDS)


def _chosen(answer: "pd.DataFrame", columns: str | None) -> "pd.DataFrame":
    """Return the columns that `--columns` names; `UsageError` for one that the answer has not."""
    if columns is None:
        return answer
    names, known = [name.strip() for name in columns.split(",")], list(answer.columns)
    for name in names:
        if name not in known:
            raise UsageError(
                f"--columns: the answer has no column {name!r}.{did_you_mean(name, known)} It has {', '.join(known)}."
            )
    return answer[list(dict.fromkeys(names))]


def _tables() -> str:
    from tune_qat.results.schema import KEYS, TABLES, meaning
    from tune_qat.text.sentences import filled

    lines = ["Each table has study_id, the name of the study file, beside these columns."]
    for table, schema in TABLES.items():
        key = f", a row for each {', '.join(KEYS[table])}" if KEYS[table] else ", a row for each study"
        lines.append(f"\n{table}{key}")
        lines += [filled(f"  {field.name} ({field.type}): {meaning(field)}", indent="      ") for field in schema]
    return "\n".join(lines)


@app.command()
def compact(results: Results) -> None:
    """Merge many small files into few; safe at any moment.

    The files of trials that have ended, also while a study runs. Every command and query gives the same before and
    after, and during it.
    """
    from tune_qat.results.compaction import compact as compact_all

    folder = storage_path(results)
    try:
        done = compact_all(folder)
    except OSError as error:
        raise TuneQatError(
            f"{folder} cannot be compacted: {error}. All its rows are still there. Compact it where it may be written."
        ) from None
    for study in done:
        print(f"study {study.study_id}: {study.before} files are now {study.after}")
