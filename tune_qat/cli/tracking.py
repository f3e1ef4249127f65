"""The command that brings a study's trials to the tools where teams look at curves: export-runs."""

from typing import Annotated

import typer

from tune_qat.cli.application import app
from tune_qat.cli.options import Results
from tune_qat.config import UsageError
from tune_qat.config.lookup import did_you_mean

TOOLS = ("tensorboard", "wandb", "optuna")


@app.command("export-runs")
def export_runs(
    results: Results,
    study: Annotated[str | None, typer.Argument(help="One study; if left out, all of the record.")] = None,
    *,
    to: Annotated[str, typer.Option("--to", metavar="TOOL", help="tensorboard, wandb or optuna.")],
    out: Annotated[str, typer.Option(metavar="WHERE", help="A folder; of optuna a file, or a database's URL.")],
) -> None:
    """Write trials as runs of TensorBoard, W&B or Optuna.

    The record is only read, and nothing is uploaded. The same command again adds what is new: trials, and epochs of
    those that went on. docs/curves.md says what each tool shows.
    """
    if to not in TOOLS:
        raise UsageError(
            f"--to must be {', '.join(TOOLS[:-1])} or {TOOLS[-1]}, but got {to!r}.{did_you_mean(to, TOOLS)}"
        )
    from tune_qat.storage.paths import storage_path
    from tune_qat.trackers.export import export

    print(export(storage_path(results), study, to, out))
