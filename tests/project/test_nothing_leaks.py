"""What a run, a crash, an import, a report and a launch leave behind: searched for planted secrets, and for places."""

import os
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.helpers.runs import command, study_file
from tests.helpers.storage import Bucket
from tests.importing.test_refusals import journal
from tests.project.planted import MARK, SECRETS, URLS, USER, files, places_in, record, secrets_in
from tests.tuning.sabotage import two_arms
from tune_qat import cli
from tune_qat.storage.paths import storage_path
from tune_qat.text.toml import toml_text


@dataclass
class Machine:
    """A user's home, the temporary folder of their processes, and what those have printed."""

    home: Path
    temporary: Path
    printed: list[tuple[str, bytes]] = field(default_factory=list)
    sources: tuple[Path, ...] = ()

    @property
    def environment(self) -> dict[str, str]:
        places = {"HOME": str(self.home), "TMPDIR": str(self.temporary), "RAY_TMPDIR": str(self.temporary)}
        return os.environ | SECRETS | places | {"GOOGLE_APPLICATION_CREDENTIALS": str(self.home / "gcs.json")}

    def run(self, *words: object, kind: str | None = None) -> int:
        typed = [sys.executable, "-m", *(["tests.tuning.sabotage", kind] if kind else ["tune_qat"]), *map(str, words)]
        done = subprocess.run(typed, capture_output=True, env=self.environment, timeout=300, check=False)
        self.printed += [(" ".join(typed[2:4]), done.stdout), (" ".join(typed[2:4]), done.stderr)]
        return done.returncode

    def left(self) -> Iterator[tuple[str, bytes]]:
        yield from self.printed
        yield from files(self.home, without=self.sources)
        yield from files(self.temporary)


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    home = tmp_path / "home" / USER
    home.mkdir(parents=True)
    key = home / "gcs.json"
    key.write_text(f'{{"private_key": "{MARK}"}}')
    # Sockets lie here, whose paths may have 107 characters.
    with tempfile.TemporaryDirectory(prefix="tq", dir="/tmp", ignore_cleanup_errors=True) as temporary:
        Path(temporary).chmod(0o755)  # as /tmp is
        yield Machine(home, Path(temporary), sources=(key,))


@pytest.mark.slow
@pytest.mark.ray
def test_a_study_that_was_killed_and_ended(
    machine: Machine, bucket: Bucket, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """On object storage, whose keys the environment has; some trials end in an error that quotes addresses."""
    results = f"{bucket.uri}/leaks"
    space = study_file(machine.home, two_arms())
    words = command(space, results, kind="Talks")
    with subprocess.Popen(words, env=machine.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        until = time.monotonic() + 200
        while not any(storage_path(results).glob("trials/study_id=*/*.parquet")):
            assert process.poll() is None and time.monotonic() < until, process.communicate()
            time.sleep(0.05)
        process.kill()
        machine.printed += [("killed", text) for text in process.communicate()]
    (private,) = (path.parent.parent for path in machine.temporary.glob("*/ray/session_2*"))
    assert stat.S_IMODE(private.stat().st_mode) == 0o700
    logs = b"".join(path.read_bytes() for path in machine.temporary.rglob("runtime_env_agent.log"))
    assert b"PL_DISABLE_FORK" in logs, "Ray has logged the environment of trials"
    assert secrets_in(machine.left()) == []
    machine.run("run", space, "--results", results, "--no-progress", kind="Talks")
    page = machine.home / "page.html"
    assert typed(machine, monkeypatch, capfd, "report", results, "-o", page) == 0
    rows = [*record(storage_path(results))]
    assert b"ConnectionError" in b"".join(text for _, text in rows)
    assert secrets_in(iter([*machine.left(), *rows])) == []
    published = iter([*rows, ("page", page.read_bytes())])
    assert places_in(published, machine.home, machine.temporary, Path(sys.prefix)) == []


def typed(machine: Machine, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], *words: object) -> int:
    """A command in this process, which is quicker."""
    for name, value in machine.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(tempfile, "tempdir", None)  # found anew, in the environment
    monkeypatch.setattr(sys, "argv", ["tune-qat", *map(str, words)])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    machine.printed += [(str(words[:2]), text.encode()) for text in capfd.readouterr()]
    return int(ended.value.code or 0)


@pytest.mark.parametrize("address", URLS)
def test_no_command_shows_the_password_of_an_address(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], address: str
) -> None:
    space = machine.home / "mine.toml"
    space.write_text(f'extend = "quickstart"\n{toml_text({"training": {"init": "path", "init_path": address}})}')
    nodes = ("--nodes", 1, "--cpus-per-node", 1)
    for words in (
        ("import", "optuna", address, "--results", machine.home / "r"),
        ("status", address),
        ("query", address, "leaderboard"),
        ("report", address, "-o", machine.home / "page.html"),
        ("run", "quickstart", "--results", address),
        ("run", "quickstart", "--address", address, "--results", machine.home / "r"),
        ("run", "quickstart", "--address", "ray://head:10001", f"--results={address}"),
        ("plan", "quickstart", "--results", address),
        ("launch", "quickstart", "--on", "ray", "--results", address),
        ("launch", "quickstart", "--on", "ray", "--results", "s3://b/r", "--address", address),
        ("launch", "quickstart", "--on", "kuberay", *nodes, "--image", "a", "--results", address),
        ("launch", "quickstart", "--on", "slurm", *nodes, "--results", address),
        ("launch", space, "--on", "ray", "--results", "s3://b/r"),
    ):
        assert typed(machine, monkeypatch, capfd, *words) != 0, words
    assert secrets_in(files(machine.home, without=(*machine.sources, space))) == []
    assert secrets_in(iter(machine.printed)) == []


@pytest.mark.slow
def test_an_import_leaves_keys_and_folders_where_they_were(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Sweeps carry what their scripts were given: keys of trackers, addresses of databases, folders."""
    values = {"lr": 0.1, "batch_size": 32, "optimizer": "adam", "wandb/api_key": MARK, "tracker": {"token": MARK}}
    values |= {"storage": URLS[0], "data": f"{machine.home}/data", "elsewhere": f"/srv/{USER}/data"}
    storage = Path(journal(machine.home / "sweep.log", values))
    results, page = machine.home / "results", machine.home / "page.html"
    for words in (("import", "optuna", storage, "--results", results), ("report", results, "-o", page)):
        assert typed(machine, monkeypatch, capfd, *words) == 0, machine.printed
    rows = [*record(results)]
    assert b"wandb/api_key" in b"".join(text for _, text in rows)
    assert secrets_in(iter([*files(machine.home, without=(*machine.sources, storage)), *machine.printed])) == []
    assert places_in(iter([*rows, ("page", page.read_bytes())]), machine.home) == []
