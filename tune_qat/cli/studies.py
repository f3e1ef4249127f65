"""Commands about whole studies: plan, run, status."""

import shlex
import sys
from typing import Annotated, Any

import typer

from tune_qat.cli.application import app
from tune_qat.cli.options import (
    BACKEND_HELP,
    AcceptChangedCode,
    AllowEarlyRung,
    Code,
    DataDir,
    Overrides,
    Results,
    Space,
    Trials,
    check_own_parts,
    read_gpus,
    read_seconds,
    read_study,
)
from tune_qat.config import Interrupted, TuneQatError, UsageError
from tune_qat.config.own_parts import allow
from tune_qat.config.system import check_writes_records
from tune_qat.storage.paths import StoragePath, refuse_secrets, storage_path
from tune_qat.text.sentences import fitted

NoProgress = Annotated[bool, typer.Option("--no-progress", help="A line a stage instead of a live display.")]


@app.command()
def plan(
    space: Space,
    results: Annotated[str, typer.Option(help="Record to estimate minutes from.")] = "results",
    data_dir: DataDir = None,
    overrides: Overrides = None,
    trials: Trials = None,
    code: Code = None,
    accept_changed_code: AcceptChangedCode = False,
) -> None:
    """Show the trials and the cost of a study, without running it.

    Lists arms, ranges, stages, trials and epochs, and minutes once trials of the workload are in the record; what a run
    would reuse, take over from other studies of the folder, and run; and whether the data is there. Code of your own is
    compared with the record's, and not imported.
    """
    from tune_qat.cli.plan_text import data_there, describe
    from tune_qat.results.views import naming_damage
    from tune_qat.tuning.own_code import planned_with

    allow(code or (), only_hashed=True)
    study, folder = read_study(space, overrides, trials), storage_path(results)
    if study.batches_of_one and not study.own_parts:  # otherwise, torch is not needed
        from tune_qat.tuning.checks import check_batches_of_one

        check_batches_of_one(study)
    if study.repeat is not None and "subset" in study.repeat.varies and "dataset" not in study.own_parts:
        from tune_qat.tuning.overlap import load_works

        try:
            load_works(study, data_dir)
        except UsageError:
            raise
        except TuneQatError as error:
            cause = str(error).partition("\n")[0]
            print(f"Whether the subsets of the repeats fit is not known here: {cause}", file=sys.stderr)
    with naming_damage(folder):
        study, remark = planned_with(study, folder, accept=accept_changed_code)
        text = describe(study, folder)
    print(fitted("\n".join([text, *remark, "", data_there(study, data_dir)])))


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
    workers_per_trial: Annotated[
        int | None, typer.Option(min=1, help="Processes that share a trial's steps; one a GPU, if left out.")
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
    code: Code = None,
    accept_changed_code: AcceptChangedCode = False,
    no_progress: NoProgress = False,
) -> None:
    """Run a study, or continue it.

    The same command again runs what is missing: after Ctrl-C or a crash, and with more trials, seeds or optimizers.
    """
    from tune_qat.trackers.checks import log_folder

    # Mistakes are found before importing Ray, which takes seconds.
    check_writes_records("tune-qat run")
    allow(code or ())
    study = read_study(space, overrides, trials)
    check_own_parts(study.own_parts)
    log_folder(study.logging.tensorboard)
    seconds = None if time_budget is None else read_seconds(time_budget, "--time-budget")
    gpus = read_gpus(gpus_per_trial)
    patience = read_seconds(storage_patience, "--storage-patience")
    _check_no_client(study.name, address, space, results)
    complete = _run(
        study,
        storage_path(results),
        live=not no_progress,
        budget={"seconds": seconds, "trials": trial_budget, "gpu_hours": gpu_hours},
        data_dir=data_dir,
        address=address,
        max_concurrent=max_concurrent,
        cpus_per_trial=cpus_per_trial,
        gpus_per_trial=gpus,
        workers_per_trial=workers_per_trial,
        backend=backend,
        storage_patience=patience,
        retry_errors=retry_errors,
        allow_early_rung=allow_early_rung,
        accept_changed_code=accept_changed_code,
    )
    if not complete:
        raise typer.Exit(Interrupted.exit_code)


def _run(study: Any, folder: StoragePath, *, live: bool, budget: dict[str, Any], **options: Any) -> bool:
    """Run a study on a screen, and return whether it is complete; what is heavy is imported once the screen says so."""
    from tune_qat.cli.run_screen import RunScreen, heading
    from tune_qat.tuning.signals import stops

    again, screen = f"tune-qat {shlex.join(sys.argv[1:])}", RunScreen(live=live)
    resume = f"resume:\n  {again}"
    with stops(resume) as signals:
        signals.leave = screen.leave
        for line in heading(study, folder):
            screen.say(line)
        screen.doing("Loading PyTorch and Ray")
        from tune_qat.tuning.budget import Budget
        from tune_qat.tuning.run import run as run_study

        outcome = run_study(
            study,
            results=folder,
            budget=Budget(**budget),
            say=screen.say,
            doing=screen.doing,
            again=resume,
            display=screen.display,
            signals=signals,
            **options,
        )
        screen.doing("Reading the record")
        from tune_qat.cli.run_summary import ending

        print(ending(study, outcome, results=folder, again=again))
    return bool(outcome.complete)


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
    print(fitted(text))
