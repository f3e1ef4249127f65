"""Running Ray cluster as target: a script with `ray job submit`."""

import re
import shlex
from collections.abc import Sequence
from itertools import pairwise

from tune_qat.config import UsageError
from tune_qat.config.secrets import hide_secrets
from tune_qat.launch.request import Request, Where, check_shared
from tune_qat.launch.shell_text import RUN_END, heredoc
from tune_qat.study.file import bundled

_ADDRESS = re.compile(r"https?://[A-Za-z0-9_.:\[\]-]+(/[A-Za-z0-9_./-]*)?")
_CLIENT = re.compile(r"ray://(?P<host>\[[0-9a-fA-F:]+\]|[A-Za-z0-9_.-]+)(:\d+)?/?")
_PLAIN = re.compile(r"[A-Za-z0-9_@%+=:,./-]+")
DASHBOARD_PORT = 8265


def job_server(address: str | None) -> str | None:
    """Return the URL of a cluster's job server: an HTTP address as given, for `ray://host:10001` `http://host:8265`.

    None stays None: Ray then chooses.

    Raises `UsageError` for any other address.
    """
    client = _CLIENT.fullmatch(address or "")
    if client:
        return f"http://{client['host']}:{DASHBOARD_PORT}"
    if address is not None and not _ADDRESS.fullmatch(address):
        raise UsageError(
            f"--address takes the cluster's job server, such as http://HEAD:{DASHBOARD_PORT}, but got "
            f"{hide_secrets(address)!r}."
        )
    return address


def submit_line(name: str, address: str | None, entry: Sequence[str], *options: str) -> str:
    """Return the `ray job submit` line for a command; its id contains the time, since Ray accepts no id twice."""
    where = ["--address", shlex.quote(address)] if address else []
    submission = ["--submission-id", f'"{name}-$(date +%s)"']
    return " ".join(["ray job submit", *where, *submission, *options, "--no-wait --", shlex.join(entry)])


def is_plain(words: Sequence[str]) -> bool:
    """Return whether no word needs quotes in a shell: Ray joins the words that it submits without quoting them."""
    return all(_PLAIN.fullmatch(word) for word in words)


def script(request: Request, where: Where) -> str:
    """Return a shell script that submits the study.

    A study file, or a command that needs quotes, is sent as a file in a temporary working directory.

    Raises `UsageError` for an invalid address, or results that the nodes cannot share.
    """
    address = job_server(where.address)
    check_shared("--results", request.results)
    lines = [
        "#!/usr/bin/env bash",
        f"# Submits the study {request.name} to a running Ray cluster; run it again to continue it.",
        "# This needs `ray job`: pip install 'tune-qat[cluster]', here and on the cluster, where Ray was started with",
        "# `tune-qat` on PATH. Ray reports usage statistics unless its head was started with --disable-usage-stats.",
        "set -euo pipefail",
        'command -v ray > /dev/null || { echo "ray is not on PATH: activate its environment" >&2; exit 1; }',
        "# The cluster's token: `ray get-auth-token` on its head prints it.",
        'export RAY_AUTH_MODE="${RAY_AUTH_MODE:-token}"',
        '[ -n "${RAY_AUTH_TOKEN:-}" ] || export RAY_AUTH_TOKEN_PATH="${RAY_AUTH_TOKEN_PATH:-$HOME/.ray/auth_token}"',
    ]
    space = request.space if request.study_toml is None else "study.toml"
    command = request.run_command(space)
    if request.study_toml is None and request.code is None and is_plain(command):
        return "\n".join([*lines, submit_line(request.name, address, command)]) + "\n"
    lines += ["folder=$(mktemp -d)", "trap 'rm -rf \"$folder\"' EXIT"]
    text = "\n".join(lines) + "\n"
    if request.study_toml is not None:
        text += heredoc('"$folder"/study.toml', request.study_toml)
    text += heredoc('"$folder"/run.sh', request.run_file(space), RUN_END)
    line = submit_line(request.name, address, ["bash", "run.sh"], '--working-dir "$folder"')
    return f"{text}{line}\n"


def instead_of_client(address: str, *, name: str, space: str, results: str, command: Sequence[str]) -> str:
    """Return the answer to `tune-qat run --address ray://...`: why not, and how to submit the same study as a job.

    Args:
        address: the address of Ray Client.
        name: name of the job.
        space: the study, as it was given.
        results: its results folder or URI, as it was given.
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
    launch += [word for before, word in pairwise(command) if "--code" in (before, word.partition("=")[0])]
    lines = [f"  {shlex.join(launch)}"]
    if is_plain(typed) and space in bundled():
        lines = [f"  RAY_AUTH_MODE=token {submit_line(name, server, typed)}", "or, the same:", *lines]
    return (
        f"--address {address}: Ray Client would keep the study's driver on this machine, and a lost connection would "
        "end the study. Submit the study as a job, which runs on the cluster:\n" + "\n".join(lines)
    )
