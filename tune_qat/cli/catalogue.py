"""The command that names what there is to choose from: list."""

import json
import re
import shutil
import sys
import textwrap
from collections.abc import Mapping
from typing import Annotated

import typer

from tune_qat.cli.application import app
from tune_qat.config import UsageError
from tune_qat.config.lookup import did_you_mean

KINDS = ("studies", "models", "datasets", "tasks", "quantizers", "optimizers")
START, WORKSTATION, SEVERAL, FULL_SIZE = GROUPS = (
    "start here",
    "for a workstation",
    "each in several files, which a report on their folder takes together",
    "full size, as published",
)
"""Groups of studies, in the order in which they are listed."""
MANY = re.compile(r"(.+)_(\d+)$")
"""Name of a file that is one of several of a study, by their number."""


def complete_kind(incomplete: str) -> list[str]:
    """Return the kinds that begin with what is typed."""
    return [kind for kind in KINDS if kind.startswith(incomplete)]


Kind = Annotated[
    str | None, typer.Argument(help=f"One of {', '.join(KINDS)}; all, if left out.", autocompletion=complete_kind)
]


@app.command("list")
def list_(
    kind: Kind = None, as_json: Annotated[bool, typer.Option("--json", help="One JSON object, by kind.")] = False
) -> None:
    """List studies, models, data, tasks, quantizers, optimizers."""
    if kind is not None and kind not in KINDS:
        raise UsageError(f"list takes one of {', '.join(KINDS)}, but got {kind!r}.{did_you_mean(kind, KINDS)}")
    found = {one: lines(one) for one in ([kind] if kind else KINDS)}
    if as_json:
        print(json.dumps({one: _rows(one, known) for one, known in found.items()}, indent=2, ensure_ascii=False))
        return
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else None
    blocks = [block for one, known in found.items() for block in _blocks(one, known, width)]
    print("\n\n".join(blocks))


def lines(kind: str) -> dict[str, str]:
    """Return what there is of a kind by name, with a line for each."""
    if kind == "studies":
        from tune_qat.study.file import bundled, summary

        return {name: summary(path) for name, path in bundled().items()}
    from tune_qat.config.entry_points import offered
    from tune_qat.data.table import DATASETS
    from tune_qat.data.tasks import TASKS
    from tune_qat.models import MODELS
    from tune_qat.optimizers import OPTIMIZERS
    from tune_qat.quantizers import QUANTIZERS

    tables: dict[str, dict[str, str]] = {
        "models": {name: spec.summary for name, spec in MODELS.items()} | offered("model"),
        "datasets": {name: spec.summary for name, spec in DATASETS.items()} | offered("dataset"),
        "tasks": {name: spec.summary for name, spec in TASKS.items()} | offered("task"),
        "quantizers": {name: spec.line for name, spec in QUANTIZERS.items()},
        "optimizers": {name: spec.summary for name, spec in OPTIMIZERS.items()},
    }
    return tables[kind]


def group(name: str, line: str) -> str:
    """Return the group that a study file is listed in, by its name and its first line."""
    if name.endswith("quickstart"):
        return START
    if "full size" in line:
        return FULL_SIZE
    return SEVERAL if MANY.fullmatch(name) else WORKSTATION


def grouped(studies: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return studies by group, from those to start with to the largest ones; `quickstart` is the first of all."""
    found: dict[str, dict[str, str]] = {title: {} for title in GROUPS}
    for name in sorted(studies, key=lambda name: (name != "quickstart", name)):
        found[group(name, studies[name])][name] = studies[name]
    return found


def _rows(kind: str, known: Mapping[str, str]) -> list[dict[str, str]]:
    if kind != "studies":
        return [{"name": name, "summary": line} for name, line in known.items()]
    return [
        {"name": name, "summary": line, "group": title}
        for title, part in grouped(known).items()
        for name, line in part.items()
    ]


def _blocks(kind: str, known: Mapping[str, str], width: int | None) -> list[str]:
    """Return the tables of a kind: one, and of studies one for each group."""
    if kind != "studies":
        return [_table(kind, known, width)]
    parts = {title: _folded(part) for title, part in grouped(known).items()}
    return [_table(f"studies: {title}", part, width) for title, part in parts.items()]


def _folded(studies: Mapping[str, str]) -> dict[str, str]:
    """Return studies with the files of one in a line: NAME_1 .. NAME_3."""
    files: dict[str, list[str]] = {}
    for name in studies:
        match = MANY.fullmatch(name)
        files.setdefault(match[1] if match else name, []).append(name)
    return {
        names[0] if len(names) == 1 else f"{stem}_1 .. {len(names)}": re.sub(
            r"; repeats [\d and]+\.$", ".", studies[names[0]]
        )
        for stem, names in files.items()
    }


def _table(title: str, known: Mapping[str, str], width: int | None) -> str:
    """Return a title and a line for each name; what does not fit the width goes on under itself."""
    wide = max(map(len, known))
    rows = [title]
    for name, line in known.items():
        room = max(24, (width or 10_000) - wide - 4)
        first, *rest = textwrap.wrap(line, room, break_on_hyphens=False) or [""]
        rows.append(f"  {name:{wide}}  {first}".rstrip())
        rows += [f"{'':{wide + 4}}{more}" for more in rest]
    return "\n".join(rows)
