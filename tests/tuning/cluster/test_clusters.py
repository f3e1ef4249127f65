"""Clusters that do not let us in, or whose nodes see other folders: real raylets, two of them in mount namespaces."""

import os
import shlex
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.helpers.runs import study_file
from tests.helpers.studies import tiny_study
from tests.tuning.raylets import Raylets, address_of
from tune_qat.config import TuneQatError, UsageError
from tune_qat.tuning.cluster.address import check_address, check_reachable
from tune_qat.tuning.cluster.nodes import appears

AUTH = ("RAY_AUTH_MODE", "RAY_AUTH_TOKEN", "RAY_AUTH_TOKEN_PATH")
WRONG = {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "0" * 64}
APART = ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user", "--mount"]


def environment(**given: str) -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if name not in AUTH} | given


def mine(cluster: Raylets) -> dict[str, str]:
    """The variables that let a process into the cluster."""
    return {name: value for name, value in cluster.environment.items() if name in AUTH}


def tune_qat(*words: str, **given: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tune_qat", *words]
    return subprocess.run(command, env=environment(**given), capture_output=True, text=True, timeout=150)


@pytest.mark.ray
@pytest.mark.slow
@pytest.mark.xdist_group("nodes")
class TestLettingIn:
    @pytest.mark.parametrize(
        ("given", "part"),
        [
            ({}, "RAY_AUTH_MODE is not set"),
            (WRONG, "the token in RAY_AUTH_TOKEN is not the cluster's"),
            ({"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN_PATH": "/no/such"}, "not the cluster's, in /no/such"),
        ],
        ids=["no-mode", "wrong-token", "no-file"],
    )
    def test_a_run_without_the_token_says_which_variables_to_set(
        self, nodes: Raylets, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], part: str
    ) -> None:
        for name in AUTH:
            monkeypatch.delenv(name, raising=False)
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(TuneQatError) as caught:
            check_reachable(nodes.address)
        text = str(caught.value)
        assert part in text and "Set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN_PATH" in text and nodes.address in text

    def test_it_is_said_by_the_command_before_anything_is_written(self, nodes: Raylets, tmp_path: Path) -> None:
        words = (
            "run",
            str(study_file(tmp_path, tiny_study())),
            "--address",
            nodes.address,
            "--results",
            str(tmp_path / "results"),
        )
        ended = tune_qat(*words, **WRONG)
        assert (ended.returncode, ended.stdout) == (1, "")
        begun, error, said = ended.stderr.partition("error: The Ray cluster at")
        assert begun.endswith("...\n") and error and len(said.splitlines()) == 2
        assert not (tmp_path / "results").exists()

    def test_the_doctor_goes_on_without_the_cluster(self, nodes: Raylets) -> None:
        ended = tune_qat("doctor", "lenet5_mnist", "--address", nodes.address, **WRONG)
        assert (ended.returncode, ended.stderr) == (1, "")
        failed = [line for line in ended.stdout.splitlines() if line.startswith("FAIL")]
        assert [line.split()[1] for line in failed] == ["ray", "data"]
        assert "RAY_AUTH_TOKEN_PATH" in failed[0] and "--data-dir" in failed[1]

    def test_the_token_lets_in(self, nodes: Raylets, monkeypatch: pytest.MonkeyPatch) -> None:
        for name, value in mine(nodes).items():
            monkeypatch.setenv(name, value)
        check_reachable(nodes.address)


class TestAddress:
    @pytest.mark.parametrize("address", ["foo", "", "host", "host:", "http://h:8265", "h:1 2", "-h:", "h:123456"])
    def test_what_is_no_address_is_refused(self, address: str) -> None:
        with pytest.raises(UsageError, match="--address takes local, auto, or host:port"):
            check_address(address)

    @pytest.mark.parametrize("address", ["local", "auto", "head:6379", "10.0.0.1:6379", "[::1]:6379"])
    def test_an_address_is_taken(self, address: str) -> None:
        check_address(address)

    def test_ray_client_is_refused(self) -> None:
        with pytest.raises(UsageError, match="tune-qat launch SPACE --on ray"):
            check_address("ray://head:10001")

    def test_where_nothing_answers_that_is_said_at_once(self) -> None:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        with pytest.raises(TuneQatError, match=f"No Ray cluster at --address 127.0.0.1:{port}: nothing answers there"):
            check_reachable(f"127.0.0.1:{port}")

    @pytest.mark.slow
    def test_what_is_not_ray_is_given_up(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tune_qat.tuning.cluster.address.ANSWER_S", 3.0)
        with socket.create_server(("127.0.0.1", 0)) as silent:
            port = silent.getsockname()[1]
            with pytest.raises(TuneQatError, match="No Ray cluster at --address .*: no answer within 3 s"):
                check_reachable(f"127.0.0.1:{port}")


def mounted(command: str, folder: Path) -> list[str]:
    """What starts a process that sees something else at a folder."""
    return [*APART, "sh", "-c", f'{command} {shlex.quote(str(folder))} && exec "$@"', "sh"]


def seen_by(process: int, folder: Path) -> list[str]:
    """Files of a folder in the eyes of a process."""
    return [path.name for path in Path(f"/proc/{process}/root{folder}").rglob("*") if path.is_file()]


@pytest.mark.ray
@pytest.mark.raylets
@pytest.mark.slow
@pytest.mark.xdist_group("nodes")
def test_nodes_that_see_other_folders_are_refused_and_nothing_is_left(nodes: Raylets, tmp_path: Path) -> None:
    """One sees a folder of its own; one sees what is written here, and keeps what it writes to itself."""
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    other = mounted("mount -t tmpfs none", hidden)
    layers = f"lowerdir={hidden},upperdir=/mnt/upper,workdir=/mnt/work"
    silent = mounted(
        f"mount -t tmpfs none /mnt && mkdir /mnt/upper /mnt/work && mount -t overlay -o {layers} none", hidden
    )
    if any(subprocess.run([*within, "true"], capture_output=True).returncode for within in (other, silent)):
        pytest.skip("no mount namespaces here")
    nodes.keep(0)
    # One after the other: two that start at once may choose the same ports.
    second = nodes.add(within=other)
    nodes.wait_for(second)
    third = nodes.add(within=silent)
    nodes.wait_for(third)
    start = hidden / "start.pt"
    start.touch()
    asked = run_check_data_and_doctor(nodes, study_file(tmp_path, tiny_study()), hidden, start)
    assert asked.returncode == 1 and "Traceback" not in asked.stderr and "  127.0.0.1:" not in asked.stderr
    refused, lacking = asked.stderr.split("ran\n")
    assert f"{address_of(second)}: does not find what was written here" in refused
    assert f"{address_of(third)}: what it writes is not found here" in refused
    assert "s3://bucket/folder" in refused
    assert seen_by(nodes.process(second), hidden) == []
    assert seen_by(os.getpid(), hidden) == seen_by(nodes.process(third), hidden) == [start.name]
    lines = [line for line in lacking.splitlines() if line.endswith("(training.init_path) does not exist")]
    assert [line.split(":")[0].strip() for line in lines] == [address_of(second)]
    (line,) = (line for line in asked.stdout.splitlines() if line.startswith("FAIL"))
    assert line.split()[1] == "results" and address_of(second) in line
    assert "on all 3 nodes" in asked.stdout


def run_check_data_and_doctor(
    nodes: Raylets, space: Path, results: Path, start: Path
) -> subprocess.CompletedProcess[str]:
    """In one process and Ray session: run a study, refuse nodes for one that starts from this file, look at them."""
    code = f"""
import sys
from contextlib import nullcontext
from types import SimpleNamespace as Any
from tune_qat.cli import main
from tune_qat.config import TuneQatError
from tune_qat.tuning import run
from tune_qat.tuning.cluster import doctor
from tune_qat.tuning.cluster.connect import cluster
from tune_qat.tuning.cluster.nodes import check_data
to = ["--address", {nodes.address!r}, "--results", {str(results)!r}]
with cluster({nodes.address!r}):
    run.cluster = doctor.cluster = lambda *given: nullcontext()
    sys.argv[1:] = ["run", {str(space)!r}, *to]
    try:
        main()
    except SystemExit as ended:
        assert ended.code == 1
    print("ran", file=sys.stderr)
    try:
        check_data(Any(training=Any(init_path={str(start)!r})), [Any(mapped_files=lambda: ())])
    except TuneQatError as error:
        print(error, file=sys.stderr)
    sys.argv[1:] = ["doctor", *to]
    main()
"""
    own = environment(**mine(nodes))
    return subprocess.run([sys.executable, "-c", code], env=own, capture_output=True, text=True, timeout=150)


def test_a_probe_may_take_a_moment_to_be_seen(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As on network file systems, which remember for seconds that there was no such file."""
    late = time.monotonic() + 1.0
    read = Path.read_bytes

    def slow(self: Path) -> bytes:
        if time.monotonic() < late:
            raise FileNotFoundError(self)
        return read(self)

    (tmp_path / "a").write_bytes(b"a")
    monkeypatch.setattr(Path, "read_bytes", slow)
    assert appears(tmp_path, "a")
