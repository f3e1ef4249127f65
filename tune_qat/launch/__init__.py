"""Launch of a study on a cluster: the complete file or script for one of four targets, and the command to submit it."""

from dataclasses import dataclass, fields

from tune_qat.config import UsageError
from tune_qat.launch import kuberay, ray_job, ray_up, slurm
from tune_qat.launch.request import Request, Where

TARGETS = {
    "ray": ("address",),
    "kuberay": ("image", "claim", "namespace", "service_account"),
    "slurm": ("partition", "account", "venv"),
    "ray-up": ("hosts", "user", "venv"),
}
"""Targets of `--on`, each with the options that not all have."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Launch:
    """The file or script for a target, and the commands that submit it."""

    text: str
    commands: list[list[str]]
    reads_text: bool
    """Whether the commands read the text from standard input rather than from a file."""
    needs: str
    """Program that must be installed to submit."""
    afterwards: str = ""
    """Sentence for whoever has submitted it; empty where there is nothing to say."""


def launch(target: str, request: Request, where: Where, file: str = "cluster.yaml") -> Launch:
    """Return the file or script for one target, with its commands; `file` is its future name, which `ray up` needs.

    Raises `UsageError` for an option of another target, a missing option, or an invalid value.
    """
    for option in (field.name for field in fields(Where)):
        if getattr(where, option) is not None and option not in TARGETS[target]:
            of = " and ".join(f"--on {name}" for name, options in TARGETS.items() if option in options)
            raise UsageError(f"--{option.replace('_', '-')} is an option of {of}, not of --on {target}.")
    match target:
        case "ray":
            return Launch(text=ray_job.script(request, where), commands=[["bash"]], reads_text=True, needs="ray")
        case "kuberay":
            return Launch(
                text=kuberay.manifest(request, where),
                commands=[[*kuberay.SUBMIT, "-"]],
                reads_text=True,
                needs="kubectl",
                afterwards=kuberay.afterwards(request),
            )
        case "slurm":
            return Launch(text=slurm.script(request, where), commands=[["sbatch"]], reads_text=True, needs="sbatch")
        case _:
            return Launch(
                text=ray_up.cluster_file(request, where, file),
                commands=ray_up.commands(request, where, file),
                reads_text=False,
                needs="ray",
            )
