"""A process that has loaded what trials need, and forks a worker of Ray's whenever a raylet wants to start one.

Of the 4 s that a worker takes from its start to its first epoch, imports are nearly all. Ray, its raylet and its
workers are the real ones; workers that start as a user's do are those of studies that a test runs by the command.
"""

import json
import os
import runpy
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest

from tests.helpers.forked_worker import SERVER, SETUP

LONGEST = 1 << 20
"""Bytes of a request."""


@contextmanager
def fork_server(path: Path) -> Iterator[None]:
    """A server for the workers of this test process, whose socket has this path."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}  # as Ray sets it for a trial of one CPU
    command = [sys.executable, "-m", "tests.helpers.fork_server", str(path)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout and process.stdout.readline() == b"ready\n"
        yield  # and the end of its standard input ends it


def fork_workers(patch: pytest.MonkeyPatch, path: Path) -> None:
    """Let the raylet that is started next have its workers forked."""
    import ray._private.workers as workers

    patch.setenv(SERVER, str(path))
    patch.setenv(SETUP, str(Path(workers.__path__[0]) / "setup_worker.py"))
    own = Path(__file__).with_name("forked_worker.py")
    patch.setattr("ray._private.ray_constants.SETUP_WORKER_FILENAME", str(own))


def serve(path: str) -> None:
    """Until standard input ends, have each request served by the process of its raylet."""
    raylets = dict[str, socket.socket]()
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        server.bind(path)
        server.listen()
        print("ready", flush=True)  # requests may come, and wait
        import torch._dynamo  # noqa: F401 - at the first step of an optimizer, with a thousand modules

        import tune_qat.training.loop  # noqa: F401

        while server in select.select([server, sys.stdin], [], [])[0]:
            asking, _ = server.accept()
            asked, files, _, _ = socket.recv_fds(asking, LONGEST, 3)
            environment = json.loads(asked)["environment"]
            raylet = environment["RAY_RAYLET_PID"]
            if raylet not in raylets:
                raylets[raylet], theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
                if os.fork() == 0:
                    for other in (server, asking, *raylets.values()):
                        other.close()
                    for file in files:
                        os.close(file)
                    serve_raylet(theirs, environment)
                theirs.close()
            with asking:
                socket.send_fds(raylets[raylet], [asked], [*files, asking.fileno()])
            for file in files:
                os.close(file)


def serve_raylet(requests: socket.socket, environment: dict[str, str]) -> NoReturn:
    """Load Ray, which reads at import what a raylet gives to its workers, and fork for each request."""
    os.environ.clear()
    os.environ.update(environment)
    import ray._private.workers  # noqa: F401

    import tune_qat.tuning.trainable  # noqa: F401

    while True:
        asked, files, _, _ = socket.recv_fds(requests, LONGEST, 4)
        if not asked:
            os._exit(0)
        if os.fork() == 0:
            requests.close()
            work(json.loads(asked), files)
        for file in files:
            os.close(file)


def work(asked: dict[str, Any], files: list[int]) -> NoReturn:
    """Become the worker that is asked for; the last of the files is open for as long as it lives."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    for number, file in enumerate(files[:3]):
        os.dup2(file, number)
        os.close(file)
    os.chdir(asked["folder"])
    os.environ.clear()
    os.environ.update(asked["environment"])
    from ray._private.runtime_env.context import RuntimeEnvContext
    from ray._private.utils import update_envs

    options = ("--language=", "--serialized-runtime-env-context=")
    (context,) = (word for word in asked["words"] if word.startswith(options[1]))
    update_envs(RuntimeEnvContext.deserialize(context.partition("=")[2]).env_vars)
    sys.argv[:] = [word for word in asked["words"] if not word.startswith(options)]
    runpy.run_path(sys.argv[0], run_name="__main__")
    sys.exit()


if __name__ == "__main__":
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for a worker here: Ray does
    serve(sys.argv[1])
