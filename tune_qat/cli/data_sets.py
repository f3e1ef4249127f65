"""Commands about the data sets of others: data list, data fetch, data verify."""

import json
import shutil
import sys
import textwrap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from tune_qat.cli.application import Application, app
from tune_qat.cli.fetch_progress import shown_progress
from tune_qat.config import Interrupted, TuneQatError, UsageError

if TYPE_CHECKING:
    from tune_qat.data.fetch import Source
    from tune_qat.data.fetch.plan import Plan

INDENT = 15
"""Letters that names of data sets take."""

data_sets = Application(help="Fetch data sets of others, and verify them.")
app.add_typer(data_sets, name="data")


def complete_name(incomplete: str) -> list[str]:
    """Return the data sets that begin with what is typed."""
    from tune_qat.data.fetch import SOURCES

    return [name for name in SOURCES if name.startswith(incomplete)]


DataDir = Annotated[Path | None, typer.Option(help="Folder of the data; if left out, TUNE_QAT_DATA.")]
Names = Annotated[
    list[str], typer.Argument(help="Data sets, as `tune-qat data list` names them.", autocompletion=complete_name)
]


@data_sets.command("list")
def list_(
    data_dir: DataDir = None, as_json: Annotated[bool, typer.Option("--json", help="One JSON list.")] = False
) -> None:
    """List data sets: size, terms, where they are."""
    from tune_qat.data.fetch import SOURCES

    rows = {name: _row(source, data_dir) for name, source in SOURCES.items()}
    if as_json:
        print(json.dumps([*rows.values()], indent=2, ensure_ascii=False))
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 10_000
    print("\n".join(line for name, row in rows.items() for line in _lines(SOURCES[name], row, width)))


@data_sets.command()
def fetch(
    names: Names,
    data_dir: DataDir = None,
    mirror: Annotated[str, typer.Option(help="Address that has the archives as URL/NAME/FILE.")] = "",
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask: sizes and terms are fine.")] = False,
) -> None:
    """Fetch data sets; what is there and whole stays as it is.

    The same command goes on where it was stopped. docs/data.md says what is checked.
    """
    from tune_qat.data.fetch.plan import plan_of

    sources, folder = _sources(names), _folder(data_dir)
    plans = [plan_of(source, folder) for source in sources]
    missing = [plan for plan in plans if plan.missing]
    for plan in plans:
        print(_offer(plan))
    if missing:
        _agree(yes)
        _fetch(missing, mirror)


@data_sets.command()
def verify(names: Names, data_dir: DataDir = None) -> None:
    """Read data sets that are there, and say what is broken.

    Bytes are compared with those that were fetched, and every sample is read. Exit code 1 where one is not whole.
    """
    from tune_qat.data.fetch.verifying import verify as verified

    sources, folder = _sources(names), _folder(data_dir)
    wide = max(len(source.name) for source in sources)
    broken = []
    for source in sources:
        verdict = verified(source, folder)
        print(f"{source.name:{wide}}  {verdict.text}", flush=True)
        if not verdict.whole:
            broken.append(source.name)
    if broken:
        raise TuneQatError(
            f"{', '.join(broken)}: not whole. Move what is broken elsewhere or remove it, then: tune-qat data fetch "
            f"{' '.join(broken)} --data-dir {folder}"
        )


def _sources(names: Sequence[str]) -> list["Source"]:
    from tune_qat.data.fetch import SOURCES

    return [SOURCES.get_spec(name) for name in dict.fromkeys(names)]


def _folder(data_dir: Path | None) -> Path:
    from tune_qat.data import data_folder

    folder = data_folder(data_dir)
    if folder is None:
        raise UsageError("Name the folder of the data with --data-dir DIR, or the environment variable TUNE_QAT_DATA.")
    return folder


def _row(source: "Source", data_dir: Path | None) -> dict[str, Any]:
    from tune_qat.data import data_folder, get_spec

    folder = data_folder(data_dir)
    return {
        "name": source.name,
        "summary": get_spec(source.name).summary,
        "download_bytes": source.download,
        "disk_bytes": source.disk,
        "terms": source.terms,
        "from": source.home,
        "checksums": source.sums,
        "folder": str(folder) if folder else None,
        "state": _state(source, folder),
    }


def _state(source: "Source", folder: Path | None) -> str | None:
    """Return whether a data set is there, in part or missing, of which nothing is read; None without a folder."""
    from tune_qat.data import check_present
    from tune_qat.data.fetch.plan import arrived

    if folder is None:
        return None
    begun = any(arrived(folder, source.name, one) for one in source.archives)
    try:
        check_present(source.name, data_dir=folder)
    except TuneQatError:
        return "in part" if begun or any((folder / one.gives).exists() for one in source.archives) else "missing"
    return "in part" if begun else "there"


def _lines(source: "Source", row: dict[str, Any], width: int) -> list[str]:
    from tune_qat.data.fetch.sources import download_text, size_text

    places = {"there": f"there, in {row['folder']}", "in part": f"in part, in {row['folder']}", "missing": "not there"}
    texts = (
        row["summary"],
        f"{download_text(source.archives, source.download)} to download, {size_text(source.disk)} on disk; "
        + places.get(row["state"], "no data folder was given"),
        f"terms: {source.terms}",
        f"from {source.home}; checksums: {source.sums}",
    )
    room = max(24, width - INDENT)
    lines = [line for text in texts for line in textwrap.wrap(text, room, break_on_hyphens=False)]
    return [f"{'' if number else source.name:{INDENT}}{line}" for number, line in enumerate(lines)]


def _offer(plan: "Plan") -> str:
    from tune_qat.data.fetch.sources import download_text, size_text

    source = plan.source
    if not plan.missing:
        return f"{source.name}: there and whole, in {plan.folder}"
    return (
        f"{source.name}: {download_text(plan.missing, plan.download)} to download, {size_text(plan.disk)} on disk, to "
        f"{plan.folder}\n  terms: {source.terms}\n  from {source.home}\n  checksums: {source.sums}"
    )


def _agree(yes: bool) -> None:
    """Ask whether to go on; raises `UsageError` where nobody is there to answer."""
    if yes:
        return
    if not sys.stdin.isatty():
        raise UsageError("Nothing was fetched: without a terminal to ask on, --yes says that sizes and terms are fine.")
    if not typer.confirm("Fetch?"):
        raise Interrupted("nothing was fetched")


def _fetch(plans: Sequence["Plan"], mirror: str) -> None:
    from tune_qat.data.fetch.fetching import check_mirror, fetch

    if mirror:
        check_mirror(mirror)
    for plan in plans:
        plan.check_room()
        with _stoppable(), shown_progress() as (told, said):
            fetch(plan.published(), mirror=mirror, told=told, said=said)
        print(f"{plan.source.name}: fetched, in {plan.folder}", flush=True)


@contextmanager
def _stoppable() -> Iterator[None]:
    try:
        yield
    except KeyboardInterrupt:
        raise Interrupted("stopped by Ctrl-C; the same command goes on where it was") from None
