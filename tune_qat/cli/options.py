"""Arguments and options that several commands take, and how their values are read."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from tune_qat.config import UsageError
from tune_qat.config.own_parts import check_part


def complete_study(incomplete: str) -> list[str]:
    """Return the bundled studies, and the folders and TOML files, that begin with what is typed."""
    from tune_qat.study.file import bundled

    near = Path(incomplete or ".")
    folder = near if incomplete.endswith("/") or not incomplete else near.parent
    here = sorted(folder.iterdir()) if folder.is_dir() else []
    paths = [f"{one}/" if one.is_dir() else str(one) for one in here if one.is_dir() or one.suffix == ".toml"]
    return [name for name in (*bundled(), *paths) if name.startswith(incomplete)]


Space = Annotated[
    str,
    typer.Argument(help="A bundled study (see `tune-qat list`) or a TOML file.", autocompletion=complete_study),
]
Results = Annotated[str, typer.Argument(help="A results folder, or its URI.")]
DataDir = Annotated[
    Path | None, typer.Option(help="Folder of the data; if left out, TUNE_QAT_DATA, or the study's data_dir.")
]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, as space.learning_rate.low=1e-6."),
]
BACKEND_HELP = "What runs training steps: eager, inductor (compiled), or auto: compiled where that pays."
Trials = Annotated[int | None, typer.Option(min=0, help="Search trials per arm; overrides stages.search.")]
AllowEarlyRung = Annotated[
    bool, typer.Option("--allow-early-rung", help="Search although random trials refute ASHA's first rung.")
]

Code = Annotated[
    list[Path] | None,
    typer.Option("--code", metavar="DIR", help="Folder of your own models, data and tasks; may be repeated."),
]
AcceptChangedCode = Annotated[
    bool, typer.Option("--accept-changed-code", help="Take trials of another source of your own parts as they are.")
]


def read_study(space: str, overrides: list[str] | None, trials: int | None) -> Any:
    from tune_qat.study import Study

    return Study.load(space, read_overrides(overrides, trials))


def check_own_parts(parts: Mapping[str, str]) -> None:
    """Look for own parts, by kind, in the folders of `--code`: before anything is imported, which takes seconds."""
    for kind, name in parts.items():
        check_part(name, kind)


def read_overrides(overrides: list[str] | None, trials: int | None) -> dict[str, Any]:
    values = read_pairs(overrides, "--set", "space.learning_rate.low=1e-6")
    if trials is not None:
        values["stages.search"] = trials
    return values


def read_pairs(texts: list[str] | None, option: str, example: str) -> dict[str, Any]:
    from tune_qat.study.file import parse_override

    return dict(parse_override(text, option, example) for text in texts or [])


def read_seconds(text: str, option: str) -> float:
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    try:
        value = float(text[:-1]) * units[text[-1]]
    except (KeyError, ValueError, IndexError):
        value = -1.0
    if not 0 < value < float("inf"):
        raise UsageError(f"{option} takes a number with a unit, such as 90s, 30m or 8h, but got {text!r}.")
    return value


def read_gpus(text: str | None) -> float | Literal["auto"] | None:
    """Read GPUs of a trial: a number, `auto`, or None where they are left out."""
    if text is None or text == "auto":
        return "auto" if text else None
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < float("inf"):
        raise UsageError(f"--gpus-per-trial takes a number such as 1 or 0.5, or auto, but got {text!r}.")
    return value
