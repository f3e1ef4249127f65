"""The command that looks at a study before it is paid for: check."""

from typing import Annotated

import typer

from tune_qat.cli.application import app
from tune_qat.cli.options import Code, DataDir, Overrides, Space, check_own_parts, read_study
from tune_qat.config import TuneQatError
from tune_qat.config.own_parts import allow
from tune_qat.storage.paths import storage_path
from tune_qat.text.sentences import fitted


@app.command()
def check(
    space: Space,
    results: Annotated[str, typer.Option(help="Results folder or URI that is going to be used.")] = "results",
    data_dir: DataDir = None,
    address: Annotated[str, typer.Option(help="local, auto or host:port of the Ray cluster.")] = "local",
    overrides: Overrides = None,
    code: Code = None,
) -> None:
    """Look at a study before it is paid for.

    Loads the data, builds and quantizes the model, trains two batches, and shows the layers, the time and the memory of
    a trial, and the doctor's lines on cluster and storage. The exit code is 1 if anything fails.
    """
    allow(code or ())
    study, folder = read_study(space, overrides, None), storage_path(results)
    check_own_parts(study.own_parts)
    from tune_qat.cli.check_text import looked_at
    from tune_qat.tuning.cluster.doctor import examine

    for block in looked_at(study, folder, data_dir=data_dir, address=address):
        print(fitted(f"{block}\n"), flush=True)
    failed = False
    for line in examine(address=address, results=results, study=study, data_dir=data_dir):
        print(fitted(str(line)), flush=True)
        failed = failed or line.failed
    if failed:
        raise typer.Exit(TuneQatError.exit_code)
