"""Check, within seconds, that a Ray cluster answers at an address and accepts our token.

Ray itself tries for more than two minutes if nothing answers, and for twenty seconds if the token is wrong, and does
not name the token as the cause.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from tune_qat.config import TuneQatError, UsageError
from tune_qat.config.secrets import hide_secrets

CONNECT_S = 10.0
ANSWER_S = 60.0
"""Longest wait for `ray status`, which takes a second."""
CLIENT = "ray://"
"""Scheme of Ray Client."""
_HOST_PORT = re.compile(r"\[?(?P<host>[^\[\]/@]+)\]?:(?P<port>\d{1,5})")
START_ONE = "Use --address local for this machine, or start one with: RAY_AUTH_MODE=token ray start --head"


def check_address(address: str) -> None:
    """Raise `UsageError` for an address of Ray Client, and for one that is malformed."""
    if address.startswith(CLIENT):
        raise UsageError(
            f"--address {hide_secrets(address)}: Ray Client would keep the study's driver on this machine, outside of "
            "the cluster, and lose it with the connection. Submit the study as a job: tune-qat launch SPACE --on ray"
        )
    if address not in ("local", "auto") and not _HOST_PORT.fullmatch(address):
        shown = hide_secrets(address)
        raise UsageError(f"--address takes local, auto, or host:port of a Ray cluster, but got {shown!r}.")


def check_reachable(address: str) -> None:
    """Raise `TuneQatError` if no cluster answers at `address`, or it rejects our token."""
    if address == "local":
        return
    if found := _HOST_PORT.fullmatch(address):
        try:
            socket.create_connection((found["host"], int(found["port"])), timeout=CONNECT_S).close()
        except (OSError, OverflowError) as error:
            raise no_cluster(address, f"nothing answers there ({error})") from error
    no_token = os.environ.get("RAY_AUTH_MODE") == "token" and token_source() is None
    problem = "AuthenticationError" if no_token else _status_problem(address)
    if "AuthenticationError" in problem:
        raise TuneQatError(f"The Ray cluster at --address {address} does not let this process in: {authentication()}")
    if problem:
        raise no_cluster(address, problem)


def no_cluster(address: str, reason: str) -> TuneQatError:
    if address == "local":
        return TuneQatError(f"Ray does not start on this machine: {reason}\nCheck the machine with: tune-qat doctor")
    return TuneQatError(f"No Ray cluster at --address {address}: {reason}\n{START_ONE}")


def authentication() -> str:
    """Say what is wrong with this process's authentication, and how to set it."""
    mode = os.environ.get("RAY_AUTH_MODE")
    path = os.environ.get("RAY_AUTH_TOKEN_PATH")
    if mode != "token":
        have = f"RAY_AUTH_MODE is {mode}" if mode else "RAY_AUTH_MODE is not set"
    elif os.environ.get("RAY_AUTH_TOKEN"):
        have = "the token in RAY_AUTH_TOKEN is not the cluster's"
    else:
        have = f"there is no token, or not the cluster's, in {path or '~/.ray/auth_token'}"
    return (
        f"{have}.\nSet RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH to a file with the cluster's token, here and on "
        "every node (`ray get-auth-token` on the head prints it)."
    )


def token_source() -> str | None:
    """Return the source of this process's token, in Ray's order; None without a token."""
    if os.environ.get("RAY_AUTH_TOKEN"):
        return "RAY_AUTH_TOKEN"
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or "~/.ray/auth_token").expanduser()
    try:
        return str(path) if path.read_text(encoding="utf-8").strip() else None
    except (OSError, UnicodeDecodeError):
        return None


def _status_problem(address: str) -> str:
    """Return the error of `ray status`; empty if it succeeds.

    It runs in its own process: a process reads its token only once, and Ray ends a process with a broken one.
    """
    command = [ray_command(), "status", "--address", address]
    try:
        asked = subprocess.run(command, capture_output=True, text=True, timeout=ANSWER_S, check=False)
    except subprocess.TimeoutExpired:
        return f"no answer within {ANSWER_S:.0f} s"
    if asked.returncode == 0:
        return ""
    lines = [line.strip() for line in (asked.stderr + asked.stdout).splitlines() if line.strip()]
    errors = [line for line in lines if re.match(r"[\w.]*(Error|Exception)\b", line)]
    return (errors or lines or [f"`ray status` ended with {asked.returncode}"])[-1]


def ray_command() -> str:
    """Return the path of the `ray` command that belongs to this Python."""
    beside = Path(sys.executable).with_name("ray")
    return str(beside) if beside.exists() else shutil.which("ray") or "ray"
