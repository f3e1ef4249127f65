"""Starts a study on a cluster: the whole file or script for one of four targets, and what submits it."""

from dataclasses import dataclass, fields

from tune_qat.config import UsageError
from tune_qat.launch import kuberay, ray_job, ray_up, slurm
from tune_qat.launch.request import Request, Where

TARGETS = {
    "ray": ("address",),
    "kuberay": ("image", "claim", "namespace", "service_account"),
    "slurm": ("partition", "account"),
    "ray-up": ("hosts", "user"),
}
"""What can be launched on, and the options that only it has."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """What was written, and how it is submitted."""

    text: str
    commands: list[list[str]]
    reads_text: bool
    """Whether the commands take the text as their input, rather than from a file."""
    needs: str
    """The tool that has to be installed."""


def launch(target: str, request: Request, where: Where, file: str = "cluster.yaml") -> Launch:
    """The file or script of one target; `file` is what it will be called, where that matters.

    Raises:
        UsageError: an option that the target lacks or needs, or a value that it cannot have.
    """
    for option in (field.name for field in fields(Where)):
        if getattr(where, option) is not None and option not in TARGETS[target]:
            of = next(name for name, options in TARGETS.items() if option in options)
            raise UsageError(f"--{option.replace('_', '-')} is an option of --on {of}, not of --on {target}.")
    match target:
        case "ray":
            return Launch(text=ray_job.script(request, where), commands=[["bash"]], reads_text=True, needs="ray")
        case "kuberay":
            apply = ["kubectl", "apply", "-f", "-"]
            return Launch(text=kuberay.manifest(request, where), commands=[apply], reads_text=True, needs="kubectl")
        case "slurm":
            return Launch(text=slurm.script(request, where), commands=[["sbatch"]], reads_text=True, needs="sbatch")
        case _:
            return Launch(
                text=ray_up.cluster_file(request, where, file),
                commands=ray_up.commands(request, file),
                reads_text=False,
                needs="ray",
            )
