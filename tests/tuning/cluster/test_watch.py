"""A cluster whose head dies in the middle of a study: our words are the last, and what is recorded stays."""

import re
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.helpers.runs import command, study_file, wait_for
from tests.tuning.raylets import raylets
from tests.tuning.sabotage import two_arms
from tune_qat.tuning.cluster import watch
from tune_qat.tuning.cluster.watch import ClusterLost, Place, watched

RECONNECT = "RAY_gcs_rpc_server_reconnect_timeout_s"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look each 0.02 s, and a tenth to end."""
    for name, value in (("LOOK_S", 0.02), ("END_S", 0.1)):
        monkeypatch.setattr(watch, name, value)


class Watched:
    """A watch over two servers, with what it has called: one that lives, and one that may be closed."""

    def __init__(self, alive: socket.socket, server: socket.socket) -> None:
        self.said, self.lost, self.ended = list[str](), list[ClusterLost](), threading.Event()
        self.where = server.getsockname()
        places = [
            Place(name=name, address="{}:{}".format(*one.getsockname()), patience_s=0.5)
            for name, one in (("The node", alive), ("The head", server))
        ]
        self.watched = watched(places, say=self.said.append, lost=self.lost.append, end=lambda error: self.ended.set())


@pytest.fixture
def alive() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


@pytest.mark.usefixtures("quick")
class TestWatched:
    def test_a_head_that_is_gone_ends_the_process_if_the_block_does_not_end(self, alive: socket.socket) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            seen = Watched(alive, server)
            with seen.watched:
                time.sleep(0.1)
                assert not seen.said
                server.close()
                assert seen.ended.wait(10)
        assert seen.said == ["The head does not answer; waiting up to 0 s for it"] and len(seen.lost) == 1
        assert "The head has not answered" in str(seen.lost[0]) and "run the same command again" in str(seen.lost[0])

    def test_a_block_that_ends_in_time_is_left_alone(self, alive: socket.socket) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            seen = Watched(alive, server)
            with seen.watched:
                server.close()
                while not seen.lost:
                    time.sleep(0.005)
        assert not seen.ended.wait(0.3)

    def test_a_head_that_comes_back_is_waited_for(self, alive: socket.socket) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            seen = Watched(alive, server)
            with seen.watched:
                server.close()
                while not seen.said:
                    time.sleep(0.005)
                with socket.create_server(seen.where):
                    time.sleep(1.0)
        assert not seen.lost and not seen.ended.is_set()


@pytest.mark.ray
@pytest.mark.slow
class TestStudy:
    """By the command: every process of a head that is killed, or the raylet alone of this machine's own session."""

    def test_whose_head_is_killed(self, tmp_path: Path) -> None:
        with raylets(1) as cluster:
            environment = cluster.environment | {RECONNECT: "23"}  # patience of 3 s
            with going_on(tmp_path, "--address", cluster.address, environment=environment) as run:
                cluster.kill(1)
                last_words(run, f"The Ray node on this machine|The head of the Ray cluster at {cluster.address}")

    def test_whose_node_is_killed(self, tmp_path: Path) -> None:
        with going_on(tmp_path) as run:
            (raylet,) = (one for one in psutil.Process(run.pid).children() if one.name() == "raylet")
            raylet.kill()
            last_words(run, "The Ray session on this machine")


@contextmanager
def going_on(folder: Path, *typed: str, environment: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """A study that would go on for minutes, and has written its first row."""
    space = study_file(folder, two_arms(training={"epochs": 4000, "init": "scratch"}))
    begun = command(space, folder / "results", *typed)
    with subprocess.Popen(begun, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        try:
            wait_for(folder / "results", 1, run)
            yield run
        finally:
            run.kill()


def last_words(run: subprocess.Popen[str], name: str) -> None:
    """They are ours, and say how the study goes on."""
    _, errors = run.communicate(timeout=120)
    assert run.returncode == 1, errors
    error, what, command = errors.splitlines()[-3:]
    assert re.match(f"error: ({name}) has not answered for .* run the same command again.$", error), errors
    assert what == "resume:" and command.startswith("  tune-qat run ") and "Traceback" not in errors
