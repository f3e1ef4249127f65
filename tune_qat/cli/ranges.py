"""Commands about the ranges of a study: edges, widen."""

import math
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from tune_qat.cli.application import app
from tune_qat.cli.options import Results
from tune_qat.config import UsageError
from tune_qat.storage.paths import storage_path
from tune_qat.text.sentences import fitted

OneStudy = Annotated[str | None, typer.Option("--study", metavar="NAME", help="Of several studies in the results.")]


@app.command()
def edges(results: Results, study: OneStudy = None) -> None:
    """Show best values near an edge of their range.

    Lists the best value of each searched dimension of each arm, those near an edge first, a range wide enough, and the
    side on which no trial has ended well beyond the best.
    """
    from tune_qat.results.views import naming_damage
    from tune_qat.widen.edges import describe

    folder = storage_path(results)
    with naming_damage(folder):
        text = describe(folder, study)
    print(fitted(text))


@app.command()
def widen(
    results: Results,
    study: OneStudy = None,
    arm: Annotated[list[str] | None, typer.Option(metavar="ARM_ID", help="Of this arm alone; may be repeated.")] = None,
    learning_rate: Annotated[str | None, typer.Option(metavar="LOW:HIGH", help="Of the arms' optimizers.")] = None,
    batch_size: Annotated[str | None, typer.Option(metavar="LOW:HIGH", help="Powers of two, of the study.")] = None,
    trials: Annotated[
        int | None,
        typer.Option(min=1, max=1_000_000, help="Search trials per arm; enough for the new part, if left out."),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="wide.toml; without it, the file is printed.")
    ] = None,
) -> None:
    """Write the study file with wider ranges.

    Ranges that are not given are widened as `edges` suggests. The study keeps its name: running the file with the
    same results reuses every recorded trial that fits, and runs only what is new.
    """
    rates = read_span(learning_rate, "--learning-rate")
    sizes = read_span(batch_size, "--batch-size", powers=True)
    from tune_qat.results.views import naming_damage
    from tune_qat.widen.file import check_output, document, write
    from tune_qat.widen.ranges import Wanted
    from tune_qat.widen.ranges import widen as widen_study

    if output is not None:
        check_output(output)
    wanted = Wanted(arms=arm or (), learning_rate=rates, batch_size=sizes, trials=trials)
    folder = storage_path(results)
    with naming_damage(folder):
        widened = widen_study(folder, study, wanted)
        text = document(widened, folder, output)
    if output is None:
        sys.stdout.write(text)
        return
    write(text, output)
    print(f"{output}: study {widened.study.name}", *widened.notes, sep="\n  ")
    print(f"\nrun      tune-qat run {shlex.quote(str(output))} --results {shlex.quote(str(folder))}")


def read_span(text: str | None, option: str, *, powers: bool = False) -> tuple[float, float] | None:
    """Parse LOW:HIGH; with `powers` both ends must be powers of two, and may be equal."""
    if text is None:
        return None
    example = "16:256" if powers else "1e-5:1"
    try:
        low, high = (float(part) for part in text.split(":"))
    except ValueError:
        raise UsageError(f"{option} takes LOW:HIGH, such as {example}, but got {text!r}.") from None
    for value in (low, high):
        if not (math.isfinite(value) and value > 0):
            raise UsageError(f"{option}: both ends must be numbers above 0, but got {text!r}.")
        if powers and not (value >= 1 and math.log2(value).is_integer()):
            raise UsageError(f"{option}: both ends must be powers of two, such as {example}, but got {text!r}.")
    if low > high or (low == high and not powers):
        raise UsageError(f"{option}: LOW must be {'at most' if powers else 'below'} HIGH, but got {text!r}.")
    return low, high
