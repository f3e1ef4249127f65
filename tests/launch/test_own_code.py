"""Own parts in a launch: the sources of their package arrive on the cluster as they are here, and nothing else."""

import subprocess
from pathlib import Path

import pytest
import yaml

from tests.helpers.own_code import forgetting_code, write_code, write_nets
from tests.launch.requests import HOSTS, clean_environment, request
from tests.launch.test_ray import submitted
from tests.launch.test_slurm import HERE, SCONTROL, SRUN, own_path, stubs
from tune_qat.config import UsageError
from tune_qat.config.own_parts import allow, source_sha256
from tune_qat.launch import launch, travelling
from tune_qat.launch.ray_job import instead_of_client
from tune_qat.launch.request import Request, Where
from tune_qat.launch.travelling import code_archive

own_code = pytest.fixture(autouse=True)(forgetting_code)
SEEN = """#!/bin/bash
while [ $# -gt 1 ]; do [ "$1" = --code ] && cp -r "$2" "$SAVED/arrived"; shift; done
"""
"""A program that keeps the folder of its `--code`."""


@pytest.fixture
def part(tmp_path: Path) -> str:
    """An own model in a folder with data and with files beside its package."""
    name = write_nets(tmp_path / "code", "ol_nets")
    write_code(tmp_path / "code", {"ol_nets/data.csv": "1", "beside.py": "", "ol_nets/deep/er.py": "it's = '$x `y`'\n"})
    allow([tmp_path / "code"])
    return name


@pytest.fixture
def one(part: str) -> Request:
    return request(study_toml="name = 'own'\n", code=code_archive({"model": part}))


def program(folder: Path, name: str) -> dict[str, str]:
    (folder / "bin").mkdir(exist_ok=True)
    (folder / "bin" / name).write_text(SEEN)
    (folder / "bin" / name).chmod(0o755)
    return clean_environment(PATH=f"{folder / 'bin'}:/usr/bin:/bin", SAVED=str(folder), HOME=str(folder))


def assert_arrived(folder: Path, part: str) -> None:
    before = source_sha256(part)
    assert not [path for path in folder.rglob("*") if path.is_file() and path.suffix != ".py"]
    assert [path.name for path in folder.iterdir()] == ["ol_nets"]
    allow([folder])
    assert source_sha256(part) == before


def test_a_ray_job_unpacks_it(one: Request, part: str, tmp_path: Path) -> None:
    submitted(launch("ray", one, Where()), tmp_path)
    assert sorted(path.name for path in (tmp_path / "sent").iterdir()) == ["run.sh", "study.toml"]
    subprocess.run(["bash", "run.sh"], cwd=tmp_path / "sent", env=program(tmp_path, "tune-qat"), check=True)
    assert_arrived(tmp_path / "arrived", part)


def test_a_pod_unpacks_it(one: Request, part: str, tmp_path: Path) -> None:
    config_map, _ = yaml.safe_load_all(launch("kuberay", one, Where(image="i")).text)
    subprocess.run(["bash", "-c", config_map["data"]["run.sh"]], env=program(tmp_path, "tune-qat"), check=True)
    assert_arrived(tmp_path / "arrived", part)


def test_a_slurm_job_unpacks_it(one: Request, part: str, tmp_path: Path) -> None:
    environment = stubs(tmp_path, scontrol=SCONTROL, srun=SRUN, ray=SEEN) | {"SAVED": str(tmp_path)}
    text = own_path(launch("slurm", one, HERE).text, environment)
    subprocess.run(["bash"], input=text, text=True, env=environment, check=True, cwd=tmp_path, capture_output=True)
    assert_arrived(tmp_path / "arrived", part)


def test_a_head_of_ray_up_unpacks_it(one: Request, part: str, tmp_path: Path) -> None:
    written = launch("ray-up", one, HOSTS)
    (_, unpack) = yaml.safe_load(written.text)["head_setup_commands"]
    environment = program(tmp_path, "tune-qat")
    for command in (unpack, unpack, written.commands[1][3]):  # what an earlier launch has left is replaced
        subprocess.run(["bash", "-c", command], env=environment, check=True)
    assert_arrived(tmp_path / "arrived", part)


@pytest.mark.parametrize("given", [["--code", "here"], ["--code=here"]])
def test_the_answer_to_ray_client_keeps_the_folder(given: list[str]) -> None:
    typed = ["tune-qat", "run", "own.toml", "--address", "auto", "--results", "/nfs/r", *given]
    text = instead_of_client("ray://h:10001", name="q", space="own.toml", results="/nfs/r", command=typed)
    assert text.endswith(f"--submit {' '.join(given)}")


def test_the_same_code_is_the_same_text(part: str) -> None:
    assert code_archive({"model": part, "task": part}) == code_archive({"model": part})
    assert code_archive({}) is None


def test_what_is_too_long_for_a_file_is_refused(one: Request, part: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(travelling, "LONGEST_CODE", 100)
    with pytest.raises(UsageError, match="--code: ol_nets would be .* characters of a job's file"):
        code_archive({"model": part})
    monkeypatch.setattr("tune_qat.launch.ray_up.LONGEST_WORD", 100)
    with pytest.raises(UsageError, match="--on ray-up takes 100"):
        launch("ray-up", one, HOSTS)
