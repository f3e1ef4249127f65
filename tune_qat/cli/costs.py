"""The command that works out what models cost: cost."""

import sys
from typing import Annotated

import typer

from tune_qat.cli.application import app
from tune_qat.cli.options import Code, DataDir, Results
from tune_qat.config.own_parts import allow
from tune_qat.storage.paths import storage_path


@app.command()
def cost(
    results: Results,
    data_dir: DataDir = None,
    code: Code = None,
    wide: Annotated[bool, typer.Option("--wide", help="All columns, however long the lines get.")] = False,
) -> None:
    """Show what each scheme costs: parameters, operations, bytes.

    A study has this in its record from its first trial on. Of studies that were recorded before it is worked out here,
    from the model and two samples of the data, and written beside them; no recorded file changes.
    """
    allow(code or ())
    folder = storage_path(results)
    import analysis
    from tune_qat.results.views import naming_damage
    from tune_qat.text.formats import write_frame
    from tune_qat.tuning.costs import add_missing

    with naming_damage(folder):
        for name in add_missing(folder, data_dir):
            print(f"study {name}: its costs are in the record now", file=sys.stderr)
    write_frame(analysis.frame(results, "cost"), "table", None, wide=wide)
