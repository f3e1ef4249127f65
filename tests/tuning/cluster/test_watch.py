"""A cluster whose head dies in the middle of a study: our words are the last, and what is recorded stays."""

import socket
import subprocess
import threading
import time
from pathlib import Path

import pytest

from tests.helpers.runs import command, study_file, wait_for
from tests.tuning.raylets import raylets
from tests.tuning.sabotage import two_arms
from tune_qat.tuning.cluster import watch
from tune_qat.tuning.cluster.watch import ClusterLost, watched

RECONNECT = "RAY_gcs_rpc_server_reconnect_timeout_s"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """A look each 0.02 s, patience of half a second, and a tenth to end."""
    monkeypatch.setenv(RECONNECT, "1")
    for name, value in (("LOOK_S", 0.02), ("BEFORE_RAY_S", 0.5), ("END_S", 0.1)):
        monkeypatch.setattr(watch, name, value)


class Watched:
    """A watch over a server of ours, and what it has called."""

    def __init__(self, server: socket.socket) -> None:
        self.said, self.lost, self.ended = list[str](), list[ClusterLost](), threading.Event()
        self.place = server.getsockname()
        address = "{}:{}".format(*self.place)
        self.watched = watched(
            address, "The head", say=self.said.append, lost=self.lost.append, end=lambda error: self.ended.set()
        )


@pytest.mark.usefixtures("quick")
class TestWatched:
    def test_a_head_that_is_gone_ends_the_process_if_the_block_does_not_end(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            seen = Watched(server)
            with seen.watched:
                time.sleep(0.1)
                assert not seen.said
                server.close()
                assert seen.ended.wait(10)
        assert seen.said == ["The head does not answer; waiting up to 0 s for it"] and len(seen.lost) == 1
        assert "has not answered" in str(seen.lost[0]) and "run the same command again" in str(seen.lost[0])

    def test_a_block_that_ends_in_time_is_left_alone(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            seen = Watched(server)
            with seen.watched:
                server.close()
                while not seen.lost:
                    time.sleep(0.005)
        assert not seen.ended.wait(0.3)

    def test_a_head_that_comes_back_is_waited_for(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as server:
            seen = Watched(server)
            with seen.watched:
                server.close()
                while not seen.said:
                    time.sleep(0.005)
                with socket.create_server(seen.place):
                    time.sleep(1.0)
        assert not seen.lost and not seen.ended.is_set()

    def test_the_study_is_given_up_before_ray_ends_the_process(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.undo()
        monkeypatch.delenv(RECONNECT, raising=False)
        assert watch.patience_s() + watch.LOOK_S + watch.END_S < 60
        monkeypatch.setenv(RECONNECT, "300")
        assert watch.patience_s() == 280


@pytest.mark.ray
@pytest.mark.raylets
@pytest.mark.slow
def test_a_study_whose_head_is_killed_says_how_it_goes_on(tmp_path: Path) -> None:
    space, results = study_file(tmp_path, two_arms(training={"epochs": 400, "init": "scratch"})), tmp_path / "results"
    with raylets(1) as cluster:
        typed = command(space, results, "--address", cluster.address)
        environment = cluster.environment | {RECONNECT: "30"}
        with subprocess.Popen(typed, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as run:
            wait_for(results, 1, run)
            cluster.kill(1)
            _, errors = run.communicate(timeout=120)
    assert run.returncode == 1, errors
    error, resume = errors.splitlines()[-2:]
    assert error.startswith(f"error: The head of the Ray cluster at {cluster.address} has not answered for 10 s")
    assert resume.startswith(f"resume   tune-qat run {space}") and "GCS" not in errors and "Traceback" not in errors
