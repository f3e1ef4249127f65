"""Nodes with other library versions are refused: a real cluster, of which one node says it has another torch."""

import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.tuning.test_run import STUDY_FILE
from tune_qat.results.reader import read_rows

pytestmark = pytest.mark.xdist_group("ray")

JOIN_S = 60.0


@contextmanager
def node(environment: dict[str, str], *options: str, within: Sequence[str] = ()) -> Iterator[int]:
    """A Ray node of one CPU for as long as the block runs; nothing but its own processes is ended.

    Gives its process. `within` is a command that starts it.
    """
    ray = str(Path(sys.executable).with_name("ray"))
    command = [*within, ray, "start", "--block", "--num-cpus=1", "--num-gpus=0", "--disable-usage-stats", *options]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        yield process.pid
    finally:
        family = psutil.Process(process.pid).children(recursive=True)
        for one in [*family, process]:
            one.kill()
        process.wait()


def wait_for_nodes(address: str, count: int, environment: dict[str, str]) -> None:
    """Until as many have joined: asked in a process of its own, since Ray reads its token once in a process."""
    ask = f"import ray; ray.init('{address}', log_to_driver=False); print(sum(n['Alive'] for n in ray.nodes()))"
    until = time.monotonic() + JOIN_S
    while time.monotonic() < until:
        found = subprocess.run([sys.executable, "-c", ask], env=environment, capture_output=True, text=True)
        if found.stdout.strip().endswith(str(count)):
            return
    raise TimeoutError(f"{count} nodes have not joined: {found.stderr[-500:]}")


def test_a_node_with_another_torch_is_refused_before_the_first_trial(tmp_path: Path) -> None:
    fake = tmp_path / "packages" / "torch-9.9.dist-info"
    fake.mkdir(parents=True)
    (fake / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 9.9\n")
    (tmp_path / "study.toml").write_text(STUDY_FILE)
    address = f"127.0.0.1:{20_000 + os.getpid() % 10_000}"
    ours = os.environ | {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    other = ours | {"PYTHONPATH": str(fake.parent)}
    port = address.partition(":")[2]
    head = ("--head", f"--port={port}", "--node-ip-address=127.0.0.1", "--include-dashboard=false")
    joining = (f"--address={address}", "--node-ip-address=127.0.0.2")
    command = [sys.executable, "-m", "tune_qat", "run", str(tmp_path / "study.toml"), "--address", address]
    with node(ours, *head), node(other, *joining):
        wait_for_nodes(address, 2, ours)
        command += ["--results", str(tmp_path / "results")]
        ended = subprocess.run(command, env=ours, capture_output=True, text=True, timeout=120)
    assert ended.returncode == 1, ended.stderr
    assert "other library versions" in ended.stderr and "127.0.0.2: torch 9.9 (here " in ended.stderr
    assert ended.stderr.count("(here ") == 1
    assert "Traceback" not in ended.stderr
    assert not read_rows(tmp_path / "results", "trials")
