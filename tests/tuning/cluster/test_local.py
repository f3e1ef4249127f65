"""What keeps a Ray session from starting on this machine: each is told in a sentence, and before Ray is started."""

import os
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.helpers.namespaces import in_namespaces
from tune_qat.config import TuneQatError
from tune_qat.tuning.cluster import doctor
from tune_qat.tuning.cluster.local import check_local, check_names, ray_folder
from tune_qat.tuning.cluster.machine import cpu_limit, usable_cpus

CHECK = "from tune_qat.tuning.cluster.local import check_local; check_local()"


def said_within(setup: str, *kinds: str, **variables: str) -> str:
    """What the check says in namespaces of its own, after `setup`."""
    script = f"{setup} || exit 77\n{shlex.quote(sys.executable)} -c {shlex.quote(CHECK)}"
    done = in_namespaces(script, *kinds, **variables)
    assert done.returncode == 1, done.stderr
    return done.stderr.splitlines()[-1]


def test_this_machine_is_well(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setenv("RAY_TMPDIR", "/tmp")
    check_local()
    assert list(tmp_path.iterdir()) == []


def test_a_machine_that_does_not_reach_itself() -> None:
    said = said_within("true", "--net")
    assert "does not reach itself at 127.0.0.1 (Network is unreachable)" in said and "ip link set lo up" in said


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder with a path that is short enough for sockets."""
    with tempfile.TemporaryDirectory(prefix="tq", dir="/tmp") as folder:
        yield Path(folder)


@pytest.mark.parametrize("variable", ["TMPDIR", "RAY_TMPDIR"])
def test_a_temporary_folder_without_room(short: Path, variable: str) -> None:
    said = said_within(f"mount -t tmpfs -o size=1m tmpfs {short}", "--mount", **{variable: str(short)})
    assert f"{short}" in said and "takes no file of 16 MB (No space left on device)" in said
    assert f"set {variable} to another folder" in said and "--address" not in said


def test_a_path_that_is_too_long_for_sockets(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / ("x" * 60)
    folder.mkdir()
    monkeypatch.setenv("RAY_TMPDIR", str(folder))
    with pytest.raises(TuneQatError, match="at most 107 are allowed. Set RAY_TMPDIR to a folder with a shorter path"):
        check_local()
    longest = "/" + "x" * 36  # of processes with numbers of up to 7 digits
    check_names(Path(longest) / "ray")


@pytest.mark.parametrize(
    ("variables", "folder"),
    [({}, "/tmp"), ({"TMPDIR": "/a"}, "/a"), ({"TMPDIR": "/a", "RAY_TMPDIR": "/b"}, "/b")],
)
def test_the_folder_is_this_users_own_where_ray_would_put_it(
    variables: dict[str, str], folder: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ray._common.utils import get_default_ray_temp_dir

    for name in ("TMPDIR", "RAY_TMPDIR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert get_default_ray_temp_dir() == f"{folder}/ray"
    assert str(ray_folder()) == f"{folder}/tq_{os.getuid()}/ray"


def test_the_doctor_knows_them(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path / ("x" * 60)))
    with ExitStack() as session:
        line = doctor._guarded("ray", lambda: doctor._connect(session, "local"))
    assert line.failed and "Set RAY_TMPDIR to a folder with a shorter path" in line.text


@pytest.mark.parametrize(
    ("own", "files", "limit"),
    [
        ("0::/\n", {}, None),
        ("0::/\n", {"cpu.max": "max 100000"}, None),
        # docker run --cpus=2, which sees its own group as the root.
        ("0::/\n", {"cpu.max": "200000 100000"}, 2.0),
        # A group in others: the least of them, and those without a limit do not count.
        ("0::/a/b/c\n", {"a/cpu.max": "150000 100000", "a/b/cpu.max": "400000 100000", "a/b/c/cpu.max": "max 1"}, 1.5),
        ("0::/a/b\n", {"a/b/cpu.max": "50000 100000", "other/cpu.max": "10000 100000"}, 0.5),
        # Version 1, alone and beside version 2; a path of the host that a container does not see.
        ("4:cpu,cpuacct:/\n", {"cpu,cpuacct/cpu.cfs_quota_us": "-1", "cpu,cpuacct/cpu.cfs_period_us": "1"}, None),
        ("4:cpu,cpuacct:/docker/1\n", {"cpu/cpu.cfs_quota_us": "300000", "cpu/cpu.cfs_period_us": "100000"}, 3.0),
        (
            "3:cpuset:/s\n1:cpu:/a/b\n0::/\n",
            {"cpu/a/cpu.cfs_quota_us": "250000", "cpu/a/cpu.cfs_period_us": "100000", "unified/cpu.max": "max 1"},
            2.5,
        ),
    ],
)
def test_the_cpus_that_control_groups_allow(
    tmp_path: Path, own: str, files: dict[str, str], limit: float | None
) -> None:
    for name, text in files.items():
        path = tmp_path / "groups" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    (tmp_path / "own").write_text(own)
    assert cpu_limit(tmp_path / "groups", tmp_path / "own") == limit


def test_trials_at_once_follow_a_real_group(tmp_path: Path) -> None:
    name = f"tune_qat-test-{os.getpid()}"
    modern, old = Path("/sys/fs/cgroup") / name, Path("/sys/fs/cgroup/cpu") / name
    group, quota = (old, "cpu.cfs_quota_us") if old.parent.is_dir() else (modern, "cpu.max")
    try:
        group.mkdir()
        (group / quota).write_text("100000" if group is old else "100000 100000")
    except OSError as error:
        pytest.skip(f"no control group may be made here: {error}")
    code = "from tune_qat.tuning.cluster.machine import usable_cpus; print(usable_cpus())"
    script = f"echo $$ > {group}/cgroup.procs && exec {shlex.quote(sys.executable)} -c {shlex.quote(code)}"
    try:
        done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, timeout=60)
    finally:
        group.rmdir()
    assert done.stdout == "1\n", done.stderr
    assert usable_cpus() >= 1
