"""Machines reached by ssh as target: a cluster file for `ray up`, and the commands that run the study."""

import shlex

from tune_qat.config import UsageError
from tune_qat.launch.request import Request, Where, bin_of, check_shared, check_word, put_on_path
from tune_qat.launch.yaml_text import yaml_text

TOKEN = "~/.ray/auth_token"
PORT = 6379
ENVIRONMENT = f"export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH={TOKEN} RAY_USAGE_STATS_ENABLED=0"
_CHECK = (
    "for program in ray tune-qat; do command -v $program > /dev/null || { echo "
    '"$program is not on PATH of $(hostname): put it there in ~/.bashrc, or name its environment with --venv" >&2; '
    "exit 1; }; done"
)
"""Shell command that fails on a machine without the programs."""
LONGEST_WORD = 100_000
"""Most characters of a word of a command; Linux takes 131,071."""
FOLDER = "~/.tune_qat"
"""Folder of the study file on the head."""


def cluster_file(request: Request, where: Where, file: str) -> str:
    """Return the cluster file; a comment at its head has the commands that use it under the name `file`.

    Raises `UsageError` for a missing option, or a path that the machines cannot share.
    """
    hosts = (where.hosts or "").split(",")
    if len(hosts) < 2:
        raise UsageError(
            "--on ray-up needs --hosts HEAD,WORKER,...: a machine for the driver, and one or more for trials. "
            "For one machine alone: tune-qat run"
        )
    for host in hosts:
        check_word("--hosts", host)
    check_word("--user", where.user)
    check_shared("--results", request.results)
    environment = _environment(where)
    cpus = f" --num-cpus={request.cpus_per_node}" if request.cpus_per_node else ""
    gpus = f" --num-gpus={request.gpus_per_node}" if request.gpus_per_node else ""
    config = {
        "cluster_name": request.name,
        "max_workers": len(hosts) - 1,
        "provider": {"type": "local", "head_ip": hosts[0], "worker_ips": hosts[1:]},
        "auth": {"ssh_user": where.user} if where.user else {},
        "file_mounts": {TOKEN: TOKEN},
        "setup_commands": [f"{environment}; {_CHECK}"],
        "head_setup_commands": [*_write_study(request), *_write_code(request)],
        "head_start_ray_commands": [
            f"{environment}; ray stop",
            # No trials run beside the driver.
            f"{environment}; ray start --head --port={PORT} --num-cpus=0 --num-gpus=0 "
            "--autoscaling-config=~/ray_bootstrap_config.yaml",
        ],
        "worker_start_ray_commands": [
            f"{environment}; ray stop",
            f"{environment}; ray start --address=$RAY_HEAD_IP:{PORT}{cpus}{gpus}",
        ],
    }
    lines = [shlex.join(command) for command in commands(request, where, file)]
    has = f"tune-qat in {bin_of(where.venv)}" if where.venv else "tune-qat and ray on PATH (or in --venv FOLDER)"
    header = [
        f"# Every machine needs {has}, the same versions of everything,",
        "# and ssh without a password from here. Other Ray clusters of this user on these machines are stopped.",
        "# Make the token with:",
        "#   ray get-auth-token --generate",
        "# Start the cluster, run the study (repeat this to continue it), take the cluster down:",
        "#   export RAY_USAGE_STATS_ENABLED=0",
        *(f"#   {line}" for line in [*lines, shlex.join(["ray", "down", "-y", file])]),
    ]
    return "\n".join(header) + "\n" + yaml_text(config)


def commands(request: Request, where: Where, file: str) -> list[list[str]]:
    """Return the commands that start the cluster of `file` and run the study on it."""
    space = shlex.quote(request.space) if request.study_toml is None else _study_path(request)
    own = "" if request.code is None else f" --code {_code_path(request)}"
    run = f"tune-qat run {space} --address auto {shlex.join(request.run_options())}{own}"
    return [["ray", "up", "-y", file], ["ray", "exec", file, f"{_environment(where)}; {run}"]]


def _environment(where: Where) -> str:
    """Return the shell command before every other one on a machine."""
    return f"{ENVIRONMENT}; {put_on_path(bin_of(where.venv))}" if where.venv else ENVIRONMENT


def _study_path(request: Request) -> str:
    """Return the study file's path as shell code: `~` is the head's home, and the name needs no quotes."""
    return f"{FOLDER}/{request.name}.toml"


def _write_study(request: Request) -> list[str]:
    if request.study_toml is None:
        return []
    return [f"mkdir -p {FOLDER} && printf %s {shlex.quote(request.study_toml)} > {_study_path(request)}"]


def _code_path(request: Request) -> str:
    """Return the folder of the own parts as shell code."""
    return f"{FOLDER}/{request.name}_code"


def _write_code(request: Request) -> list[str]:
    """Return the command that puts the own parts there, in place of earlier ones.

    Raises `UsageError` where they are longer than a word of a command may be.
    """
    if request.code is None:
        return []
    archive, folder = "".join(request.code.split()), _code_path(request)
    if len(archive) > LONGEST_WORD:
        raise UsageError(
            f"--code: the packages of the study's own parts have {len(archive):,} characters as an archive, and --on "
            f"ray-up takes {LONGEST_WORD:,}. Install them on the machines, as a package with entry points."
        )
    return [f"rm -rf {folder} && mkdir -p {folder} && printf %s {archive} | base64 -d | tar -xz -C {folder}"]
