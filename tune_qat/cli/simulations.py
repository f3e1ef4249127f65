"""The command that replays a study on a simulated clock: simulate."""

import sys
from typing import Annotated

import typer

from tune_qat.cli.application import app
from tune_qat.cli.options import Overrides, Trials, read_overrides, read_seconds
from tune_qat.config import UsageError


@app.command()
def simulate(
    source: Annotated[str, typer.Argument(help="Results (a folder or URI), a bundled study, or a TOML file.")],
    study: Annotated[str | None, typer.Option(help="Of a record that holds several.")] = None,
    overrides: Overrides = None,
    trials: Trials = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Trials at once; as in the record, or 2.")] = None,
    time_budget: Annotated[str | None, typer.Option(help="Simulated time, such as 30m or 8h.")] = None,
    compare: Annotated[bool, typer.Option("--compare", help="Other settings of ASHA, and none, side by side.")] = False,
    seeds: Annotated[int, typer.Option(min=1, help="Repetitions of each setting of --compare.")] = 3,
    format_: Annotated[str, typer.Option("--format", help="table or json.")] = "table",
) -> None:
    """Replay a study on a simulated clock, without training.

    The study's own samplers and schedulers run on recorded curves, or on those of a formula where a study file is
    given: what ASHA costs and loses, which of its settings to choose, and what a budget buys.
    """
    if format_ not in ("table", "json"):
        raise UsageError(f"--format must be table or json, but got {format_!r}.")
    seconds = None if time_budget is None else read_seconds(time_budget, "--time-budget")
    from tune_qat.results.views import naming_damage
    from tune_qat.simulate.command import describe, find
    from tune_qat.storage.paths import storage_path

    with naming_damage(storage_path(source)):
        text = describe(
            find(source, study, read_overrides(overrides, trials)),
            workers=workers,
            time_budget=seconds,
            seeds=seeds if compare else None,
            form=format_,
            say=lambda text: print(text, file=sys.stderr),
        )
    print(text)
