"""A Ray cluster of several nodes on this machine, with token authentication on; nodes come, go and are killed."""

import json
import os
import secrets
import select
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

JOIN_S = 120.0
ENDS_S = 180.0
ASKER = """
import sys, time, ray
ray.init(sys.argv[1], log_to_driver=False)
for condition in sys.stdin:
    while not eval(condition): time.sleep(0.05)
    print(end=".", flush=True)
"""
"""Answers each line, a condition, with a point as soon as it is true."""


class Raylets:
    """Nodes by number: the head is 1, and node N has the address 127.0.0.N."""

    def __init__(self) -> None:
        self.port = _free_port()
        self.address = f"127.0.0.1:{self.port}"
        self.environment = os.environ | {
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN": secrets.token_hex(32),
            "RAY_GRACEFUL_SHUTDOWN_DRAIN_TIMEOUT_S": "3",
            "RAY_prestart_worker_first_driver": "0",  # nor for whoever only asks; studies on a Ray of their own do so
            "RAY_health_check_period_ms": "500",  # how often a node is asked whether it lives: by default each 3 s
        }
        self._nodes: dict[int, subprocess.Popen[bytes]] = {}
        self._asker: subprocess.Popen[bytes] | None = None
        self._started = 0
        self._up = False
        # Sockets lie here, whose paths may have 107 characters. Of two nodes that start in one folder one hangs.
        self._folder = tempfile.mkdtemp(prefix="tq", dir="/tmp")

    def start(
        self,
        number: int,
        *,
        cpus: int = 1,
        environment: dict[str, str] | None = None,
        within: Sequence[str] = (),
        address: str = "",
    ) -> None:
        """Start a node by the command `within`; it joins within seconds. Number 1 is the head.

        `address` is given where it is not that of the number.
        """
        head = ("--head", f"--port={self.port}", "--include-dashboard=false")
        place = head if number == 1 else (f"--address={self.address}",)
        ray = str(Path(sys.executable).with_name("ray"))
        command = [*within, ray, "start", "--block", f"--num-cpus={cpus}", "--num-gpus=0", "--disable-usage-stats",
                   f"--temp-dir={self._folder}/{number}", "--object-store-memory=80000000",
                   f"--node-ip-address={address or address_of(number)}", *place]  # fmt: skip
        if number != 1 and not self._up:
            # A node that asks before the head can answer gives up.
            self.wait_for(1)
            self._up = True
        self._started = max(self._started, number)
        self._nodes[number] = subprocess.Popen(
            command, env=environment or self.environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def kill(self, number: int) -> None:
        """SIGKILL for every process of a node."""
        process = self._nodes.pop(number)
        family = psutil.Process(process.pid).children(recursive=True) if process.poll() is None else []
        for one in [*family, process]:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        process.wait()

    def drain(self, number: int) -> None:
        """SIGTERM, as from Kubernetes: the node drains and ends."""
        process = self._nodes.pop(number)
        process.terminate()
        process.wait(ENDS_S)

    def add(self, **how: Any) -> int:
        """A node with a number that none has had, and one CPU; its number. The arguments are those of `start`."""
        self.start(self._started + 1, **how)
        return self._started

    def process(self, number: int) -> int:
        """The process of a node."""
        return self._nodes[number].pid

    def keep(self, count: int) -> list[int]:
        """Have as many nodes beside the head, all up; their numbers."""
        others = [number for number in self._nodes if number != 1 and self._nodes[number].poll() is None]
        for number in others[count:]:
            self.kill(number)
        if others[count:]:
            self.ask_until(" and ".join(f"not {_alive(number)}" for number in others[count:]))
        others = [*others[:count], *(self.add() for _ in range(count - len(others)))]
        self.wait_for(*others)
        return others

    def close(self) -> None:
        """End what still runs."""
        self._stop_asking()
        for number in sorted(self._nodes, reverse=True):
            self.kill(number)
        shutil.rmtree(self._folder, ignore_errors=True)

    def wait_for(self, *numbers: int) -> None:
        """Until these nodes have joined."""
        if numbers:
            self.ask_until(" and ".join(map(_alive, numbers)))

    def ask_until(self, condition: str) -> None:
        """Until the cluster answers with true."""
        until = time.monotonic() + JOIN_S
        while not self._asked(condition, until):
            assert time.monotonic() < until, condition

    def _asked(self, condition: str, until: float) -> bool:
        """Whether the cluster has answered by then, and not ended or not begun yet.

        One process asks everything: it is Ray's import that takes the time. Not this process, since Ray reads its token
        once.
        """
        if self._asker is None or self._asker.poll() is not None:
            command = [sys.executable, "-c", ASKER, self.address]
            self._asker = subprocess.Popen(
                command,
                env=self.environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                bufsize=0,
            )
        assert self._asker.stdin and self._asker.stdout
        with suppress(BrokenPipeError):
            self._asker.stdin.write(f"{condition}\n".encode())
            if select.select([self._asker.stdout], [], [], until - time.monotonic())[0]:
                return self._asker.stdout.read(1) == b"."
        self._stop_asking()
        return False

    def _stop_asking(self) -> None:
        if self._asker is not None:
            self._asker.kill()
            self._asker.communicate()
            self._asker = None


@contextmanager
def raylets(*cpus: int) -> Iterator[Raylets]:
    """A cluster of a head and nodes with as many CPUs; nothing but its own processes is ended."""
    cluster = Raylets()
    try:
        for number, count in enumerate(cpus, start=1):
            cluster.start(number, cpus=count)
        cluster.wait_for(*range(1, len(cpus) + 1))
        yield cluster
    finally:
        cluster.close()


def _alive(number: int) -> str:
    """Whether a node is up, as a condition for `ask_until`; the head is, if there is an answer."""
    if number == 1:
        return "any(node['Alive'] for node in ray.nodes())"
    return f"'{address_of(number)}' in [node['NodeManagerAddress'] for node in ray.nodes() if node['Alive']]"


def address_of(number: int) -> str:
    return f"127.0.0.{number}"


class Driver:
    """A study on a cluster, in a process of its own, whose events are read one by one."""

    def __init__(
        self, cluster: Raylets, space: Path, results: Path, *, concurrent: int = 0, kind: str = "StudyTrial"
    ) -> None:
        """`concurrent` trials at once, as many as fit where it is 0; `kind` is their class in tests.tuning.sabotage."""
        command = [sys.executable, "-m", "tests.tuning.raylets", str(space), str(results), cluster.address]
        command += [str(concurrent), kind]
        self.process = subprocess.Popen(
            command, env=cluster.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.seen: list[dict[str, Any]] = []

    def __enter__(self) -> "Driver":
        return self

    def __exit__(self, *error: object) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdout, self.process.stderr):
            if pipe:
                pipe.close()

    def until(self, **wanted: Any) -> dict[str, Any]:
        """The next event with these values."""
        assert self.process.stderr
        for event in self._events():
            if wanted.items() <= event.items():
                return event
        raise AssertionError(f"the study ended without {wanted}: {self.process.stderr.read()[-3000:]}")

    def _events(self) -> Iterator[dict[str, Any]]:
        assert self.process.stdout
        for line in self.process.stdout:
            # Ray prints a line of its own when a node is lost.
            if line.startswith("{"):
                self.seen.append(json.loads(line))
                yield self.seen[-1]

    def finish(self) -> None:
        """Until the study has ended, as it should."""
        assert self.process.stderr
        for _ in self._events():
            pass
        assert self.process.wait(ENDS_S) == 0, self.process.stderr.read()[-3000:]


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def _drive(space: str, results: str, address: str, concurrent: str, kind: str) -> int:
    """Run a study and print what happens: a line of JSON an event."""
    from tests.tuning import sabotage
    from tune_qat.study import Study
    from tune_qat.tuning.run import run

    def tell(event: str, plan: Any, values: Any) -> None:
        about = {"event": event, "key": plan.trial_key, "epoch": values.get("epoch"), "node": values.get("node_ip")}
        print(json.dumps(about), flush=True)

    @contextmanager
    def listen(searcher: Any, resources: Any) -> Iterator[None]:
        searcher.listen(tell)
        yield

    with sabotage.broken(getattr(sabotage, kind)):
        outcome = run(
            Study.load(space, {}),
            results=results,
            address=address,
            max_concurrent=int(concurrent) or None,
            display=listen,
            say=lambda text: print(json.dumps({"event": "said", "text": text}), flush=True),
        )
    return 0 if outcome.complete else 4


if __name__ == "__main__":
    sys.exit(_drive(*sys.argv[1:]))
