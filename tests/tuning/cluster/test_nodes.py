"""Nodes with other library versions are refused: a real cluster, of which one node says it has another torch."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.runs import command, study_file
from tests.helpers.studies import tiny_study
from tests.tuning.raylets import Raylets
from tune_qat.config import TuneQatError
from tune_qat.results.provenance import library_versions
from tune_qat.results.reader import read_rows
from tune_qat.tuning import session
from tune_qat.tuning.run import run

pytestmark = [pytest.mark.ray, pytest.mark.slow]


ALIVE = "sum(node['Alive'] for node in ray.nodes())"
NAME = r"[0-9.]+ \(node [0-9a-f]{8}\): "
"""A node with the address of another one: Ray puts the machine's in place of 127.0.0.1."""


@pytest.mark.raylets
@pytest.mark.xdist_group("nodes")
def test_a_node_with_another_torch_is_refused_before_the_first_trial_and_told_from_one_with_its_address(
    nodes: Raylets, tmp_path: Path
) -> None:
    fake = tmp_path / "packages" / "torch-9.9.dist-info"
    fake.mkdir(parents=True)
    (fake / "METADATA").write_text("Metadata-Version: 2.1\nName: torch\nVersion: 9.9\n")
    nodes.keep(0)
    path = os.pathsep.join([str(fake.parent), nodes.environment["PYTHONPATH"]])
    other = nodes.add(address="127.0.0.1", environment=nodes.environment | {"PYTHONPATH": path})
    nodes.ask_until(f"{ALIVE} == 2")
    typed = command(study_file(tmp_path, tiny_study()), tmp_path / "results", "--address", nodes.address)
    ended = subprocess.run(typed, env=nodes.environment, capture_output=True, text=True, timeout=120)
    typed = [sys.executable, "-m", "tune_qat", "doctor", "--address", nodes.address]
    said = subprocess.run(typed, env=nodes.environment, capture_output=True, text=True, timeout=120).stdout
    nodes.kill(other)
    nodes.ask_until(f"{ALIVE} == 1")
    assert ended.returncode == 1, ended.stderr
    assert "other library versions" in ended.stderr and re.search(rf"{NAME}torch 9\.9 \(here ", ended.stderr)
    assert ended.stderr.count("(here ") == 1
    assert "Traceback" not in ended.stderr
    assert not read_rows(tmp_path / "results", "trials")
    # The doctor looks at each of the two.
    (cpus,) = (line for line in said.splitlines() if line.split()[1] == "cpus")
    assert cpus.startswith("ok") and sorted(re.findall(f"{NAME}([01]) CPUs for trials", cpus)) == ["0", "1"], said
    assert "2 nodes, after" in said and ", on all 2 nodes" in said


@pytest.mark.usefixtures("shared_cluster")
def test_a_node_that_joins_later_with_other_versions_trains_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(session, "library_versions", lambda: {**library_versions(), "torch": "9.9"})
    with pytest.raises(TuneQatError, match=r"(?s)^A node that joined .* \(where the study was started 9\.9\)"):
        run(tiny_study(), results=tmp_path, max_concurrent=1)
    (row,) = read_rows(tmp_path, "trials")
    assert (row["status"], row["error_type"], row["epochs_run"]) == ("interrupted", "OtherVersions", 0)
