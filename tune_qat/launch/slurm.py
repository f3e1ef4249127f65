"""Slurm target: a script for `sbatch` that starts Ray on all nodes of an allocation with `ray symmetric-run`."""

import shlex
import sys
from pathlib import Path

from tune_qat.config import UsageError
from tune_qat.launch.request import (
    CODE,
    Request,
    Where,
    bin_of,
    check_shared,
    check_word,
    is_of_one_machine,
    put_on_path,
)
from tune_qat.launch.shell_text import heredoc, unpacked

GRACE_S = 120
"""Seconds before the time limit at which the job puts itself back into the queue."""


def script(request: Request, where: Where) -> str:
    """Return the script for `sbatch`.

    Raises `UsageError` for a path that the nodes cannot share, a missing option, or an invalid partition or account.
    """
    if request.nodes is None or request.cpus_per_node is None:
        raise UsageError("--on slurm needs --nodes and --cpus-per-node.")
    check_shared("--results", request.results)
    for option, value in (("--partition", where.partition), ("--account", where.account)):
        check_word(option, value)
    bin_folder = bin_of(where.venv) if where.venv else _own_bin()
    study = (
        f"STUDY={shlex.quote(request.space)}\n"
        if request.study_toml is None
        else 'STUDY="$RAY_TMPDIR"/study.toml\n' + heredoc('"$STUDY"', request.study_toml)
    )
    if request.code is not None:
        study += 'CODE="$RAY_TMPDIR"/code\n' + unpacked(CODE, request.code)
    own = "" if request.code is None else f" --code {CODE}"
    gpus = f" --num-gpus={request.gpus_per_node}" if request.gpus_per_node else ""
    return f"""#!/bin/bash
{_header(request, where)}
# Submit with: sbatch FILE. A failed node, preemption and the time limit put the job back into the queue, and the study
# continues with what is not recorded yet. The job has its nodes to itself (--exclusive): symmetric-run needs nodes
# where no other Ray runs, and at its end stops every Ray of the user there.
set -euo pipefail

{put_on_path(bin_folder)}
for program in ray tune-qat; do
  command -v $program > /dev/null || {{
    echo "$program is not on PATH of $(hostname). Write this script with --venv, the environment's folder there." >&2
    exit 1
  }}
done

# One token for all nodes, in the shared home folder.
[ -s "$HOME/.ray/auth_token" ] || (umask 077; ray get-auth-token --generate > /dev/null)
export RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH="$HOME/.ray/auth_token"

# On each node a folder that nobody else can have made, for others may write to /tmp as well. A short path: those of
# sockets have at most 107 characters.
RAY_TMPDIR=$(mktemp -u /tmp/r_XXXXXXXX)
export RAY_TMPDIR
srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 mkdir -m 700 "$RAY_TMPDIR"
echo "Ray's logs are in $RAY_TMPDIR of each node, until the study ends without an error."
export RAY_SYMMETRIC_RUN_CLUSTER_WAIT_TIMEOUT=300
HEAD=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
# A port other than that of the previous attempt, or of another job that is just ending.
ADDRESS="$HEAD:$((20000 + (SLURM_JOB_ID + ${{SLURM_RESTART_COUNT:-0}}) % 10000))"
{study}
# Shortly before the time limit: back into the queue, from where this script starts again.
trap 'scontrol requeue "$SLURM_JOB_ID"' USR1

srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 --cpus-per-task="$SLURM_CPUS_PER_TASK" \\
  ray symmetric-run --address "$ADDRESS" --min-nodes "$SLURM_JOB_NUM_NODES" \\
  --num-cpus="$SLURM_CPUS_PER_TASK"{gpus} --disable-usage-stats --include-dashboard=false -- \\
  tune-qat run "$STUDY" --address "$ADDRESS" {shlex.join(request.run_options())}{own} &
wait $!
# Only after an end without errors: otherwise the logs in this folder may say why.
srun --nodes="$SLURM_JOB_NUM_NODES" --ntasks-per-node=1 rm -rf "$RAY_TMPDIR"
"""


def _own_bin() -> str:
    """Return the folder of programs beside this Python; `UsageError` where other machines cannot have it."""
    folder = str(Path(sys.executable).parent)
    if is_of_one_machine(folder):
        raise UsageError(
            f"This tune-qat is in {folder}, where every machine has files of its own. Name the folder of an "
            "environment that all nodes see: --venv /shared/venv"
        )
    return folder


def _header(request: Request, where: Where) -> str:
    options = {
        "job-name": request.name,
        "partition": where.partition,
        "account": where.account,
        "nodes": request.nodes,
        "ntasks-per-node": 1,
        "cpus-per-task": request.cpus_per_node,
        "gpus-per-node": request.gpus_per_node or None,
        # 0 is all memory of the node, which the job has to itself.
        "mem": f"{request.memory_per_node}G" if request.memory_per_node else 0,
        "time": None if request.seconds is None else _time(request.seconds),
        "signal": f"B:USR1@{GRACE_S}",
        "output": f"{request.name}-%j.log",
        "open-mode": "append",
    }
    lines = [f"#SBATCH --{name}={value}" for name, value in options.items() if value is not None]
    return "\n".join([*lines, "#SBATCH --exclusive", "#SBATCH --requeue"])


def _time(seconds: float) -> str:
    minutes = max(1, round(seconds / 60))
    return f"{minutes // 1440}-{minutes % 1440 // 60:02}:{minutes % 60:02}:00"
