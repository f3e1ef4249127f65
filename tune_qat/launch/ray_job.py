"""A Ray cluster that runs: `ray job submit`."""

import re
import shlex
from collections.abc import Sequence

from tune_qat.config import UsageError
from tune_qat.launch.request import Request, Where, check_shared
from tune_qat.launch.shell_text import heredoc
from tune_qat.study.file import bundled

_ADDRESS = re.compile(r"https?://[A-Za-z0-9_.:\[\]-]+(/[A-Za-z0-9_./-]*)?")
_CLIENT = re.compile(r"ray://(?P<host>\[[0-9a-fA-F:]+\]|[A-Za-z0-9_.-]+)(:\d+)?/?")
_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")
DASHBOARD_PORT = 8265


def job_server(address: str | None) -> str | None:
    """The job server of a cluster: `http://host:8265` as it is, and for `ray://host:10001` too; None for Ray's choice.

    Raises:
        UsageError: anything else.
    """
    client = _CLIENT.fullmatch(address or "")
    if client:
        return f"http://{client['host']}:{DASHBOARD_PORT}"
    if address is not None and not _ADDRESS.fullmatch(address):
        raise UsageError(
            f"--address takes the cluster's job server, such as http://HEAD:{DASHBOARD_PORT}, but got {address!r}."
        )
    return address


def submit_line(name: str, address: str | None, entry: Sequence[str], *options: str) -> str:
    """`ray job submit` of a command; the id is new each time, since Ray takes none twice."""
    where = ["--address", shlex.quote(address)] if address else []
    submission = ["--submission-id", f'"{name}-$(date +%s)"']
    return " ".join(["ray job submit", *where, *submission, *options, "--no-wait --", shlex.join(entry)])


def is_plain(words: Sequence[str]) -> bool:
    """Whether words mean the same to any shell without quotes: Ray joins what it submits without quoting it."""
    return all(_PLAIN.fullmatch(word) for word in words)


def script(request: Request, where: Where) -> str:
    """A shell script that submits the study. What a line cannot carry travels in a folder with nothing else in it.

    Raises:
        UsageError: an address that is none, results that nodes cannot share.
    """
    address = job_server(where.address)
    check_shared("--results", request.results)
    lines = [
        "#!/usr/bin/env bash",
        f"# Submits the study {request.name} to a running Ray cluster; run it again to go on with it.",
        "# This needs `ray job`: pip install 'tune-qat[cluster]', here and on the cluster.",
        "set -euo pipefail",
        "# The cluster's token: `ray get-auth-token` on its head prints it.",
        'export RAY_AUTH_MODE="${RAY_AUTH_MODE:-token}"',
        '[ -n "${RAY_AUTH_TOKEN:-}" ] || export RAY_AUTH_TOKEN_PATH="${RAY_AUTH_TOKEN_PATH:-$HOME/.ray/auth_token}"',
    ]
    command = request.run_command(request.space if request.study_toml is None else "study.toml")
    if request.study_toml is None and is_plain(command):
        return "\n".join([*lines, submit_line(request.name, address, command)]) + "\n"
    lines += ["folder=$(mktemp -d)", "trap 'rm -rf \"$folder\"' EXIT"]
    text = "\n".join(lines) + "\n"
    if request.study_toml is not None:
        text += heredoc('"$folder"/study.toml', request.study_toml)
    text += heredoc('"$folder"/run.sh', f"exec {shlex.join(command)}\n")
    line = submit_line(request.name, address, ["bash", "run.sh"], '--working-dir "$folder"')
    return f"{text}{line}\n"


def instead_of_client(address: str, *, name: str, space: str, results: str, command: Sequence[str]) -> str:
    """For `tune-qat run --address ray://...`: why not, and the lines that submit the same study as a job.

    Args:
        address: of Ray Client.
        name: of the job.
        space: the study, as it was given.
        results: its results, as they were given.
        command: the words that were typed, with an address for a process inside the cluster.
    """
    server = job_server(address)
    shared = results
    try:
        check_shared("--results", results)
    except UsageError:
        shared = "SHARED_FOLDER"
    typed = [shared if word == results else word for word in command]
    typed += [] if shared in typed else ["--results", shared]
    launch = ["tune-qat", "launch", space, "--on", "ray", "--address", str(server), "--results", shared, "--submit"]
    lines = [f"  {shlex.join(launch)}"]
    if is_plain(typed) and space in bundled():
        lines = [f"  RAY_AUTH_MODE=token {submit_line(name, server, typed)}", "or, the same:", *lines]
    return (
        f"--address {address}: Ray Client would keep the study's driver on this machine, where it is lost with the "
        "connection. Submit the study as a job, which runs on the cluster:\n" + "\n".join(lines)
    )
