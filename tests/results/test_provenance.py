"""Versions, known without importing what they are of."""

import hashlib
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tune_qat.results import provenance
from tune_qat.results.schema import TABLES


def test_versions_are_those_that_run() -> None:
    import optuna
    import ray
    import torch

    found = provenance.versions()
    assert set(found) <= set(TABLES["trials"].names)
    assert found["torch_version"] is not None and torch.__version__.startswith(found["torch_version"])
    assert (found["ray_version"], found["optuna_version"]) == (ray.__version__, optuna.__version__)
    assert found["python_version"] == sys.version.split()[0]


def test_nothing_heavy_is_imported() -> None:
    code = (
        "import sys; from tune_qat.results import provenance as p; p.versions(); p.host_hash('a');"
        "print([name for name in ('torch', 'ray', 'optuna') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_a_package_that_is_not_there_has_no_version() -> None:
    assert provenance._version("a-package-that-nobody-has") is None


class TestHost:
    @pytest.fixture(autouse=True)
    def anew(self) -> Iterator[None]:
        provenance.host_hash.cache_clear()
        yield
        provenance.host_hash.cache_clear()

    def test_is_known_again_in_its_study_and_nowhere_else(self) -> None:
        here = provenance.host_hash("study")
        assert here is not None and re.fullmatch("[0-9a-f]{12}", here)
        provenance.host_hash.cache_clear()
        assert provenance.host_hash("study") == here != provenance.host_hash("other")

    def test_cannot_be_looked_up_by_its_name(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """Two machines of one name, which somebody could guess, have different hashes."""
        monkeypatch.setattr(socket, "gethostname", lambda: "gpu-01")
        found = set()
        for number in range(3):
            (tmp_path / str(number)).write_text(f"{number}" * 32)
            monkeypatch.setattr(provenance, "MACHINE_ID", tmp_path / str(number))
            monkeypatch.setattr(provenance, "BOOT_ID", tmp_path / str(number))
            provenance.host_hash.cache_clear()
            found.add(provenance.host_hash("study"))
        assert len(found) == 3
        assert hashlib.sha256(b"gpu-01").hexdigest()[:12] not in found

    def test_is_unknown_without_a_secret(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        for name in ("MACHINE_ID", "BOOT_ID"):
            monkeypatch.setattr(provenance, name, tmp_path / "none")
        assert provenance.host_hash("study") is None


class TestCommit:
    @pytest.fixture
    def checkout(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(provenance, "__file__", str(tmp_path / "tune_qat" / "results" / "provenance.py"))
        for name in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
            monkeypatch.delenv(name, raising=False)
        return tmp_path

    def test_of_a_checkout(self, checkout: Path) -> None:
        if shutil.which("git") is None:
            pytest.skip("git is not installed")
        identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
        for command in (["init", "-q"], [*identity, "commit", "-q", "--allow-empty", "-m", "first"]):
            # Before the first commit there is none to name, whatever git prints.
            assert provenance._git_commit() is None
            subprocess.run(["git", "-C", str(checkout), *command], check=True)
        assert re.fullmatch("[0-9a-f]{40}", provenance._git_commit() or "")

    def test_outside_a_checkout(self, checkout: Path) -> None:
        assert provenance._git_commit() is None

    @pytest.mark.parametrize("error", [FileNotFoundError("git"), subprocess.TimeoutExpired("git", 10)], ids=type)
    def test_where_git_does_not_answer(self, checkout: Path, monkeypatch: pytest.MonkeyPatch, error: Any) -> None:
        (checkout / ".git").mkdir()

        def fail(*args: Any, **options: Any) -> None:
            raise error

        monkeypatch.setattr(subprocess, "run", fail)
        assert provenance._git_commit() is None
