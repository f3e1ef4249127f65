"""`tune-qat launch` and `tune-qat doctor`, in this process."""

import os
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.typed import assert_refused
from tests.helpers.shared_cluster import SharedCluster
from tests.helpers.study_files import write
from tune_qat.results.provenance import library_versions
from tune_qat.tuning.cluster import findings, machine
from tune_qat.tuning.cluster.findings import FAIL, NOTE, OK

S3 = ("--results", "s3://b/r")
SLURM = ("--on", "slurm", *S3, "--nodes", "2", "--cpus-per-node", "8", "--venv", "/shared/venv")


class TestLaunch:
    def test_writes_to_the_screen_or_to_a_file(self, tune_qat: Any) -> None:
        shown = tune_qat("launch", "quickstart", *SLURM, "--time", "90m", "--trials", "3", "--set", "seed=1")
        assert (shown.code, shown.err) == (0, "")
        assert "#SBATCH --time=0-01:30:00" in shown.out and "--trials 3 " in shown.out and "--set seed=1 " in shown.out
        assert "--max-concurrent 16 " in shown.out
        written = tune_qat(
            "launch", "quickstart", *SLURM, "--time", "90m", "--trials", "3", "--set", "seed=1", "-o", "x"
        )
        assert (written.code, written.out, Path("x").read_text()) == (0, "", shown.out)

    def test_a_file_of_the_users_own_travels_with_what_it_extends(
        self, tune_qat: Any, tmp_path: Path, small: str
    ) -> None:
        write(tmp_path, 'extend = "small.toml"\nseed = 7\n', "own.toml")
        done = tune_qat("launch", str(tmp_path / "own.toml"), "--on", "kuberay", *S3,
                        "--image", "i", "--nodes", "1", "--cpus-per-node", "1")  # fmt: skip
        config_map, job = yaml.safe_load_all(done.out)
        values = tomllib.loads(config_map["data"]["study.toml"])
        assert (values["name"], values["seed"], values["workload"]["model"]) == ("own", 7, "lenet5")
        assert "extend" not in values and job["metadata"]["name"] == "own"

    @pytest.mark.parametrize(
        ("arguments", "part"),
        [
            (("quickstart", "--on", "k8s", *S3), "--on must be one of ray, kuberay, slurm, ray-up"),
            (("quickstrat", *SLURM), "Did you mean 'quickstart'?"),
            (("quickstart", *SLURM, "--set", "training.epoch=1"), "training.epoch (from --set)"),
            (("quickstart", *SLURM, "--image", "i"), "--image is an option of --on kuberay"),
            (("quickstart", *SLURM, "--time", "8"), "--time takes a number with a unit"),
            (("quickstart", *SLURM, "--cpus-per-trial", "9"), "--cpus-per-trial 9 is more than a node has"),
            (("quickstart", *SLURM, "--name", "a b"), "--name must be lower-case letters"),
            (("quickstart", *SLURM, "--set", "judgement.metric=psnr\n"), "one line of printable characters"),
            (("lenet5_mnist", *SLURM), "Name the folder with --data-dir"),
            (("lenet5_mnist", *SLURM, "--data-dir", "data"), "--data-dir data: give the absolute path"),
            (("quickstart", "--on", "ray", "--results", "results"), "--results results: each node"),
            (("quickstart", *SLURM, "--venv", "venv"), "--venv takes the absolute path of an environment's folder"),
            (
                ("quickstart", "--on", "ray", *S3, "--venv", "/v"),
                "--venv is an option of --on slurm and --on ray-up",
            ),
            (("quickstart", "--on", "ray-up", *S3, "--hosts", "a,b", "--submit"), "needs a file to submit"),
        ],
    )
    def test_a_mistake_ends_with_2_and_writes_nothing(
        self, tune_qat: Any, arguments: tuple[str, ...], part: str
    ) -> None:
        assert_refused(tune_qat("launch", *arguments, *(() if "--submit" in arguments else ("-o", "x"))), 2, part)

    def test_a_file_that_cannot_be_written_is_named(self, tune_qat: Any) -> None:
        assert_refused(tune_qat("launch", "quickstart", *SLURM, "-o", "no/such/x"), 1, "no/such/x cannot be written")

    def test_without_the_tool_nothing_is_submitted(self, tune_qat: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "/nowhere")
        assert_refused(tune_qat("launch", "quickstart", *SLURM, "--submit"), 1, "sbatch is not installed here")

    def test_what_is_submitted_to_kuberay_runs_again_and_it_is_said_how_the_study_goes_on(
        self, tune_qat: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        tool = tmp_path / "bin" / "kubectl"
        tool.parent.mkdir()
        tool.write_text(f'#!/bin/bash\necho "$@" > {tmp_path}/words\ncat > {tmp_path}/sent\n')
        tool.chmod(0o755)
        monkeypatch.setenv("PATH", f"{tool.parent}{os.pathsep}{os.environ['PATH']}")
        image = ("--image", "i", "--nodes", "1", "--cpus-per-node", "1")
        done = tune_qat("launch", "quickstart", "--on", "kuberay", *S3, *image, "--time", "8h", "--submit")
        assert (done.code, done.err) == (0, "")
        assert (tmp_path / "words").read_text() == "replace --force --cascade=foreground -f -\n"
        assert len(list(yaml.safe_load_all((tmp_path / "sent").read_text()))) == 2
        assert done.out == (
            "The RayJob quickstart stays when it has ended: submit it again to continue the study. "
            "An attempt that reaches the time limit (--time) is its last.\n"
        )


@pytest.mark.ray
@pytest.mark.slow
class TestDoctor:
    def test_a_healthy_machine(
        self, tune_qat: Any, monkeypatch: pytest.MonkeyPatch, shared_cluster: SharedCluster
    ) -> None:
        monkeypatch.setattr("tune_qat.tuning.cluster.doctor.cluster", shared_cluster.connected)
        monkeypatch.setattr(machine, "compiler", lambda: "")  # tried for real in tests/tuning/cluster/test_clusters.py
        done = tune_qat("doctor", "quickstart", "--results", "results")
        lines = [re.split(r"\s{2,}", line, maxsplit=2) for line in done.out.splitlines()]
        assert (done.code, done.err) == (0, ""), done
        assert [line.split()[0] for line in done.out.splitlines()].count("FAIL") == 0
        assert (
            len(lines) == 11 and "results can be written to" in done.out and "photos comes with a library" in done.out
        )
        assert not list(Path().rglob(".probe-*"))

    @pytest.mark.usefixtures("own_cluster")  # which it starts itself
    def test_each_check_that_fails_says_what_to_do_and_the_others_go_on(
        self,
        tune_qat: Any,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def broken() -> str:
            raise OSError("no cache")

        monkeypatch.setattr(machine, "compiler", broken)
        Path("file").touch()
        done = tune_qat("doctor", "lenet5_mnist", "--results", "file/results", "--data-dir", "nowhere")
        lines = done.out.splitlines()
        assert done.code == 1
        results, data = (line for line in lines if line.startswith("FAIL"))
        assert "file/results cannot be written to" in results and "Name another folder" in results
        assert "looked for nowhere/MNIST/raw" in data and "How to get it" in data
        assert next(line for line in lines if " compiler " in line).startswith("note") and len(lines) == 11


class TestFindings:
    def test_more_cpus_than_the_control_group_allows(self, tmp_path: Path) -> None:
        facts: dict[str, Any] = {"a": {"cpus": 16, "cpu_limit": 4.0}, "b": {"cpus": 4, "cpu_limit": None}}
        kind, text = findings.cpus(facts, {"a": 16.0, "b": 4.0})
        assert kind == FAIL and "--num-cpus=4" in text
        assert text.startswith("a: Ray counts on 16 CPUs, but only 4 may be used")
        assert findings.cpus(facts, {"a": 4.0, "b": 4.0})[0] == OK

    @pytest.mark.parametrize(
        ("name", "files", "limit"),
        [
            ("none", {}, None),
            ("v2", {"cpu.max": "150000 100000\n"}, 1.5),
            ("v2 without", {"cpu.max": "max 100000\n"}, None),
            ("v1", {"cpu/cpu.cfs_quota_us": "200000", "cpu/cpu.cfs_period_us": "100000"}, 2.0),
            ("v1 without", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, None),
        ],
    )
    def test_the_limit_of_a_control_group(
        self, tmp_path: Path, name: str, files: dict[str, str], limit: float | None
    ) -> None:
        for path, text in files.items():
            (tmp_path / path).parent.mkdir(exist_ok=True)
            (tmp_path / path).write_text(text)
        assert machine.cpu_limit(tmp_path) == limit

    def test_shared_memory_below_the_object_store(self) -> None:
        kind, text = findings.shared_memory({"a": {"shared_memory": 64_000_000}}, {"a": 2e9})
        assert kind == NOTE and "0.1 GB" in text and "--shm-size" in text

    def test_a_full_disk(self) -> None:
        facts: dict[str, Any] = {"a": {"disks": {"/tmp": (4, 100), "/r": (10**12, 10**12)}}}
        assert findings.disk(facts) == (
            FAIL,
            "0.0 GB of 0.0 GB free in /tmp: Ray gives no work to a node with less than 5 %; remove files, or set "
            "RAY_TMPDIR",
        )
        assert findings.disk({"a": {"disks": {"/tmp": (9 * 10**9, 10**11)}}})[0] == NOTE

    def test_gpus_that_others_use(self) -> None:
        assert findings.gpus({"a": {"gpus": [("H", 95, 100)]}})[0] == OK
        kind, text = findings.gpus({"a": {"gpus": [("H", 95, 100), ("H", 50, 100)]}})
        assert kind == NOTE and "something else uses them" in text

    def test_clocks(self) -> None:
        told = {"a": {"time": 100.0}, "b": {"time": 90.0}}
        assert findings.clocks(told, 99.0, 101.0) == (
            NOTE,
            "b: 9 s from this machine's; only the stamps in the record depend on them",
        )
        assert findings.clocks(told, 89.0, 101.0) == (OK, "within 2 s, on all 2 nodes")

    def test_other_versions(self) -> None:
        ours = {"versions": library_versions()}
        kind, text = findings.versions({"a": ours, "b": {"versions": ours["versions"] | {"torch": "9.9"}}})
        assert kind == FAIL and text.startswith("b: torch 9.9 (here ") and "constraints.txt" in text

    def test_a_fact_that_cannot_be_found_out_is_a_note(self) -> None:
        assert findings.gpus({"a": {"gpus": RuntimeError("no driver")}}) == (NOTE, "cannot be read (no driver)")
