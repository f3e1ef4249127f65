"""What Ray starts as a worker of the shared cluster: it asks the fork server for a process that has loaded torch.

Run by its path, in place of Ray's `setup_worker.py`; without imports that take time.
"""

import json
import os
import socket
import sys

SERVER = "TUNE_QAT_TEST_FORKS"
"""Variable with the path of the server's socket."""
SETUP = "TUNE_QAT_TEST_SETUP"
"""Variable with the path of Ray's own `setup_worker.py`."""


def plain(words: list[str]) -> bool:
    """Whether the worker is a Python process with no more than variables of its own."""
    options = dict(word.removeprefix("--").split("=", 1) for word in words if "=" in word)
    context = json.loads(options.get("serialized-runtime-env-context") or "{}")
    extra = ("command_prefix", "override_worker_entrypoint", "java_jars")
    return options.get("language") == "PYTHON" and not any(context.get(name) for name in extra)


def main(words: list[str]) -> None:
    if not plain(words):
        os.execv(sys.executable, [sys.executable, os.environ[SETUP], *words])
    asked = json.dumps({"words": words, "environment": dict(os.environ), "folder": os.getcwd()})
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
        server.connect(os.environ[SERVER])
        socket.send_fds(server, [asked.encode()], [0, 1, 2])
        server.recv(1)  # nothing comes: the worker holds the other end, until it ends


if __name__ == "__main__":
    main(sys.argv[1:])
