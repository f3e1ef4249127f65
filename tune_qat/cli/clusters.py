"""Commands about clusters: launch, doctor."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tune_qat.cli.application import app
from tune_qat.cli.options import (
    AcceptChangedCode,
    AllowEarlyRung,
    Code,
    DataDir,
    Overrides,
    Space,
    Trials,
    check_own_parts,
    read_seconds,
    read_study,
)
from tune_qat.config import TuneQatError, UsageError
from tune_qat.config.own_parts import allow
from tune_qat.storage.paths import naming

if TYPE_CHECKING:
    from tune_qat.launch import Launch


@app.command()
def launch(
    space: Space,
    on: Annotated[str, typer.Option(help="ray (a cluster that runs), kuberay, slurm or ray-up.")],
    results: Annotated[str, typer.Option(help="Folder that all nodes see, or s3://bucket/folder, gs://bucket/folder.")],
    data_dir: Annotated[str | None, typer.Option(help="Folder of the data, as the nodes see it.")] = None,
    nodes: Annotated[
        int | None, typer.Option(min=1, help="Nodes for trials; the most, where they come and go.")
    ] = None,
    cpus_per_node: Annotated[int | None, typer.Option(min=1, help="CPUs of each node.")] = None,
    gpus_per_node: Annotated[int, typer.Option(min=0, help="GPUs of each node.")] = 0,
    memory_per_node: Annotated[int | None, typer.Option(min=1, help="GiB; kuberay and slurm.")] = None,
    cpus_per_trial: Annotated[float, typer.Option(min=0.01, help="CPUs of each trial.")] = 1.0,
    gpus_per_trial: Annotated[float | None, typer.Option(min=0, help="One where there are GPUs, if left out.")] = None,
    overrides: Overrides = None,
    trials: Trials = None,
    allow_early_rung: AllowEarlyRung = False,
    code: Code = None,
    accept_changed_code: AcceptChangedCode = False,
    time: Annotated[
        str | None, typer.Option(help="Longest time, as 8h; slurm goes on after it, kuberay does not.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the job; from the study, if left out.")] = None,
    address: Annotated[str | None, typer.Option(help="ray: the job server, http://HEAD:8265.")] = None,
    image: Annotated[str | None, typer.Option(help="kuberay: image with tune-qat[cluster].")] = None,
    claim: Annotated[str | None, typer.Option(help="kuberay: volume claim, mounted at /shared.")] = None,
    namespace: Annotated[str | None, typer.Option(help="kuberay: namespace.")] = None,
    service_account: Annotated[str | None, typer.Option(help="kuberay: of the pods, for object storage.")] = None,
    partition: Annotated[str | None, typer.Option(help="slurm: partition.")] = None,
    account: Annotated[str | None, typer.Option(help="slurm: account.")] = None,
    hosts: Annotated[str | None, typer.Option(help="ray-up: HEAD,WORKER,WORKER that ssh reaches.")] = None,
    user: Annotated[str | None, typer.Option(help="ray-up: user of ssh.")] = None,
    venv: Annotated[str | None, typer.Option(help="slurm, ray-up: the environment's folder, as nodes see it.")] = None,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="File to write, instead of the screen.")] = None,
    submit: Annotated[bool, typer.Option("--submit", help="Run it, too.")] = False,
) -> None:
    """Write the file that runs a study on a cluster, and submit it.

    docs/clusters.md has an example for each target. Submitting again continues the study.
    """
    from tune_qat import launch as targets
    from tune_qat.launch import travelling
    from tune_qat.launch.request import Request, Where, job_name, trials_at_once

    if on not in targets.TARGETS:
        raise UsageError(f"--on must be one of {', '.join(targets.TARGETS)}, but got {on!r}.")
    if submit and on == "ray-up" and output is None:
        raise UsageError("--on ray-up needs a file to submit, and to take the cluster down with later: -o FILE")
    seconds = None if time is None else read_seconds(time, "--time")
    allow(code or ())
    study = read_study(space, overrides, trials)
    check_own_parts(study.own_parts)
    travelling.check_paths(study, data_dir)
    if on == "ray-up":  # trials run on all hosts but the first, the head
        nodes = (hosts or "").count(",") or None
    request = Request(
        name=job_name(name, study.name), space=space, study_toml=travelling.study_toml(space),
        results=results, data_dir=data_dir, overrides=tuple(overrides or ()), search_trials=trials, seconds=seconds,
        trials=trials_at_once(
            cpus=cpus_per_trial, gpus=gpus_per_trial,
            nodes=nodes, cpus_per_node=cpus_per_node, gpus_per_node=gpus_per_node,
        ),
        nodes=nodes, cpus_per_node=cpus_per_node, gpus_per_node=gpus_per_node, memory_per_node=memory_per_node,
        allow_early_rung=allow_early_rung,
        code=travelling.code_archive(study.own_parts), accept_changed_code=accept_changed_code,
    )  # fmt: skip
    where = Where(
        address=address, image=image, claim=claim, namespace=namespace, service_account=service_account,
        partition=partition, account=account, hosts=hosts, user=user, venv=venv,
    )  # fmt: skip
    _deliver(targets.launch(on, request, where, str(output or "cluster.yaml")), output, submit)


def _deliver(written: "Launch", output: Path | None, submit: bool) -> None:
    """Write the file to `output`, or print it if it is not submitted either; then submit it if wanted."""
    from tune_qat.launch.submit import submit as run

    if output is not None:
        with naming(output):
            output.write_text(written.text, encoding="utf-8")
    elif not submit:
        sys.stdout.write(written.text)
    if submit:
        run(written.commands, text=written.text if written.reads_text else None, needs=written.needs)
        if written.afterwards:
            print(written.afterwards)


@app.command()
def doctor(
    space: Annotated[str | None, typer.Argument(help="A study, whose data is looked for.")] = None,
    address: Annotated[str, typer.Option(help="local, auto or host:port of a Ray cluster.")] = "local",
    results: Annotated[str | None, typer.Option(help="Results folder or URI that is going to be used.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Check a machine or a cluster before a study.

    Lines begin with ok, note or FAIL, and say what to do. The exit code is 1 if anything fails.
    """
    study = None if space is None else read_study(space, None, None)
    from tune_qat.tuning.cluster.doctor import examine

    failed = False
    for line in examine(address=address, results=results, study=study, data_dir=data_dir):
        print(line, flush=True)
        failed = failed or line.failed
    if failed:
        raise typer.Exit(TuneQatError.exit_code)
