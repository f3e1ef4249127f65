"""Commands about whole studies: list, plan, run, status."""

import shlex
import sys
from typing import Annotated

import typer

from tune_qat.cli.application import app
from tune_qat.cli.options import (
    BACKEND_HELP,
    AllowEarlyRung,
    DataDir,
    Overrides,
    Results,
    Space,
    Trials,
    read_gpus,
    read_seconds,
    read_study,
)
from tune_qat.config import Interrupted, TuneQatError, UsageError
from tune_qat.storage.paths import refuse_secrets, storage_path

NoProgress = Annotated[bool, typer.Option("--no-progress", help="A line a stage instead of a live display.")]


@app.command("list")
def list_() -> None:
    """List studies, models, datasets, quantizers and optimizers."""
    from tune_qat.data import DATASETS
    from tune_qat.models import MODELS
    from tune_qat.optimizers import OPTIMIZERS
    from tune_qat.quantizers import QUANTIZERS
    from tune_qat.study.file import bundled, summary

    tables = {
        "search spaces": {name: summary(path) for name, path in bundled().items()},
        "models": {name: spec.summary for name, spec in MODELS.items()},
        "datasets": {name: spec.summary for name, spec in DATASETS.items()},
        "quantizers": {name: spec.line for name, spec in QUANTIZERS.items()},
        "optimizers": {name: spec.summary for name, spec in OPTIMIZERS.items()},
    }
    width = max(len(name) for lines in tables.values() for name in lines)
    for title, lines in tables.items():
        print(title)
        for name, line in lines.items():
            print(f"  {name:{width}}  {line}")


@app.command()
def plan(
    space: Space,
    results: Annotated[str, typer.Option(help="Record to estimate minutes from.")] = "results",
    data_dir: DataDir = None,
    overrides: Overrides = None,
    trials: Trials = None,
) -> None:
    """Show the trials and the cost of a study, without running it.

    Lists arms, ranges, stages, trials and epochs, and minutes once trials of the workload are in the record.
    """
    from tune_qat.cli.plan_text import describe
    from tune_qat.results.views import naming_damage

    study, folder = read_study(space, overrides, trials), storage_path(results)
    if study.batches_of_one:  # otherwise, torch is not needed
        from tune_qat.tuning.checks import check_batches_of_one

        check_batches_of_one(study)
    if study.repeat is not None and "subset" in study.repeat.varies:
        from tune_qat.tuning.overlap import load_works

        try:
            load_works(study, data_dir)
        except UsageError:
            raise
        except TuneQatError as error:
            cause = str(error).partition("\n")[0]
            print(f"Whether the subsets of the repeats fit is not known here: {cause}", file=sys.stderr)
    with naming_damage(folder):
        text = describe(study, folder)
    print(text)


@app.command()
def run(
    space: Space,
    results: Annotated[str, typer.Option(help="Folder or URI of the record; may hold many studies.")] = "results",
    data_dir: DataDir = None,
    address: Annotated[str, typer.Option(help="local, auto or host:port of a Ray cluster.")] = "local",
    overrides: Overrides = None,
    trials: Trials = None,
    max_concurrent: Annotated[
        int | None, typer.Option(min=1, help="Most trials at once; on a cluster they wait for nodes.")
    ] = None,
    cpus_per_trial: Annotated[float, typer.Option(min=0.01, help="CPUs, and CPU threads, of each trial.")] = 1.0,
    gpus_per_trial: Annotated[
        str | None, typer.Option(metavar="NUMBER|auto", help="One where there are GPUs; auto: as memory allows.")
    ] = None,
    time_budget: Annotated[
        str | None, typer.Option(help="Such as 90s, 30m or 8h: no new trials in time to end.")
    ] = None,
    trial_budget: Annotated[int | None, typer.Option(min=1, help="Trials that this run may start.")] = None,
    gpu_hours: Annotated[
        float | None, typer.Option(min=0.0, help="GPUs x hours that trials of this run may hold.")
    ] = None,
    backend: Annotated[str, typer.Option(help=BACKEND_HELP)] = "auto",
    storage_patience: Annotated[
        str, typer.Option(help="How long storage (a full disk, a lost share) is asked again.")
    ] = "10m",
    retry_errors: Annotated[
        bool, typer.Option("--retry-errors", help="Run trials again that ended in an error.")
    ] = False,
    allow_early_rung: AllowEarlyRung = False,
    no_progress: NoProgress = False,
) -> None:
    """Run a study, or continue it.

    The same command again runs what is missing: after Ctrl-C or a crash, and with more trials, seeds or optimizers.
    """
    # Mistakes are found before importing Ray, which takes seconds.
    study = read_study(space, overrides, trials)
    seconds = None if time_budget is None else read_seconds(time_budget, "--time-budget")
    gpus = read_gpus(gpus_per_trial)
    _check_no_client(study.name, address, space, results)
    from tune_qat.cli.progress import display
    from tune_qat.cli.run_summary import ending
    from tune_qat.tuning.budget import Budget
    from tune_qat.tuning.run import run as run_study

    again, folder = f"tune-qat {shlex.join(sys.argv[1:])}", storage_path(results)
    outcome = run_study(
        study,
        results=folder,
        data_dir=data_dir,
        address=address,
        max_concurrent=max_concurrent,
        cpus_per_trial=cpus_per_trial,
        gpus_per_trial=gpus,
        budget=Budget(seconds=seconds, trials=trial_budget, gpu_hours=gpu_hours),
        backend=backend,
        storage_patience=read_seconds(storage_patience, "--storage-patience"),
        retry_errors=retry_errors,
        allow_early_rung=allow_early_rung,
        say=lambda text: print(text, file=sys.stderr),
        again=f"resume   {again}",
        display=display(live=not no_progress),
    )
    print(ending(study, outcome, results=folder, again=again))
    if not outcome.complete:
        raise typer.Exit(Interrupted.exit_code)


def _check_no_client(study_name: str, address: str, space: str, results: str) -> None:
    """Raise `UsageError` for the address of a Ray client, with the command to use instead."""
    if not address.startswith("ray://"):
        return
    from tune_qat.launch.ray_job import instead_of_client
    from tune_qat.launch.request import job_name

    refuse_secrets(results)  # the message has the whole command
    inside = {address: "auto", f"--address={address}": "--address=auto"}
    command = ["tune-qat", *(inside.get(word, word) for word in sys.argv[1:])]
    raise UsageError(
        instead_of_client(address, name=job_name(None, study_name), space=space, results=results, command=command)
    )


@app.command()
def status(results: Results) -> None:
    """Show what is done, running and left, from the record's files."""
    from tune_qat.cli.status_text import describe
    from tune_qat.results.views import naming_damage

    folder = storage_path(results)
    with naming_damage(folder):
        text = describe(folder)
    print(text)
