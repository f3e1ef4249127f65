"""Parts that installed packages offer."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.typed import tune_qat as tune_qat
from tests.helpers.own_code import write_code
from tune_qat.config import TuneQatError
from tune_qat.config.entry_points import entry_points


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    entry_points.cache_clear()
    yield
    entry_points.cache_clear()


def install(folder: Path, package: str, points: str) -> None:
    """What `pip install` leaves of a package that offers parts; its module leaves a file when it is imported."""
    about = f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.2\n"
    module = "from pathlib import Path\nPath(__file__).with_name('ran').touch()\ndef build(): ...\n"
    write_code(folder, {f"{package}-1.2.dist-info/METADATA": about, f"{package}-1.2.dist-info/entry_points.txt": points,
                        f"{package}.py": module})  # fmt: skip


def test_they_are_found_by_kind_and_listed_and_not_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tune_qat: Any
) -> None:
    install(
        tmp_path, "ep_zoo", "[tune_qat.models]\nep_net = ep_zoo:build\n\n[tune_qat.tasks]\nep_task = ep_zoo:build\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert [(one.name, one.value) for one in entry_points("model").values()] == [("ep_net", "ep_zoo:build")]
    assert list(entry_points("task")) == ["ep_task"] and not entry_points("dataset")
    lines = tune_qat("list").out.splitlines()
    (line,) = (line for line in lines if line.split()[:1] == ["ep_net"])
    assert line.endswith("ep_zoo:build, installed with ep_zoo 1.2")
    assert lines.index(line) < lines.index("datasets") < lines.index("tasks")
    assert "ep_zoo" not in sys.modules and not (tmp_path / "ran").exists()
    assert entry_points("model")["ep_net"].load().__name__ == "build"
    del sys.modules["ep_zoo"]


def test_two_packages_with_one_name_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for package in ("ep_one", "ep_two"):
        install(tmp_path, package, f"[tune_qat.models]\nep_same = {package}:build\n")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(TuneQatError, match="Two installed packages offer the model 'ep_same': ep_(one|two):build"):
        entry_points("model")
