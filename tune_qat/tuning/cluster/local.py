"""Needs of a Ray session on this machine. Without them Ray fails late or never, and does not name the cause."""

import os
import socket
import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path

from tune_qat.config import TuneQatError
from tune_qat.config.system import reserve
from tune_qat.storage.paths import cause_of
from tune_qat.tuning.cluster.secrecy import private_path

LONGEST_NAME = 107
"""Longest path of a socket, in bytes."""
ROOM = 16 * 2**20
"""Bytes that Ray's logs of a short study take."""
LOOPBACK_S = 5.0


def ray_folder(environment: Mapping[str, str] = os.environ) -> Path:
    """Return the folder in which Ray makes one for each of its sessions."""
    return private_path(environment) / "ray"


def check_local() -> None:
    """Raise `TuneQatError` if no Ray session can start on this machine: one sentence on why, and one on what to do."""
    check_names(ray_folder())
    check_room(Path(os.environ.get("TMPDIR") or "/tmp"), "TMPDIR")  # Ray Tune's files
    check_room(ray_folder().parent, "RAY_TMPDIR")
    _check_loopback()


def check_names(folder: Path) -> None:
    """Check that sockets in a session's folder may have the names that Ray gives them."""
    session = f"session_{datetime.now():%Y-%m-%d_%H-%M-%S_%f}_{os.getpid()}"
    size = len(os.fsencode(folder.absolute() / session / "sockets" / "plasma_store"))
    if size > LONGEST_NAME:
        raise TuneQatError(
            f"Ray cannot start in {folder}: the path of its socket there would have {size} characters, and at most "
            f"{LONGEST_NAME} are allowed. Set RAY_TMPDIR to a folder with a shorter path, such as /tmp."
        )


def check_room(folder: Path, variable: str) -> None:
    """Check that a temporary folder, which may be made, has room for files."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            reserve(file.fileno(), ROOM)
    except OSError as error:
        raise TuneQatError(
            f"Ray cannot start: {folder} takes no file of {ROOM // 2**20} MB ({cause_of(error)}). Make room there, or "
            f"set {variable} to another folder."
        ) from error


def _check_loopback() -> None:
    try:
        with socket.create_server(("127.0.0.1", 0)) as server:
            socket.create_connection(server.getsockname(), timeout=LOOPBACK_S).close()
    except OSError as error:
        raise TuneQatError(
            f"Ray cannot start: this machine does not reach itself at 127.0.0.1 ({cause_of(error)}). Bring its "
            "loopback interface up: ip link set lo up"
        ) from error
