"""What a running cluster is given, against the commands of the installed Ray, and what all targets have in common."""

import os
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.launch.requests import HOSTS, NASTY, STUDY_TOML, clean_environment, request, with_programs
from tune_qat.cli import app
from tune_qat.config import TuneQatError, UsageError
from tune_qat.launch import Launch, launch
from tune_qat.launch.ray_job import instead_of_client, job_server
from tune_qat.launch.request import Trials, Where, trials_at_once
from tune_qat.launch.shell_text import heredoc
from tune_qat.launch.submit import submit
from tune_qat.study import Study
from tune_qat.study.file import bundled, merged
from tune_qat.text.toml import toml_text

SAVE = """#!/bin/bash
printf "%s\\n" "$@" > "$SAVED/words"
while [ "$#" -gt 0 ]; do [ "$1" = --working-dir ] && cp -r "$2" "$SAVED/sent"; shift; done
echo "$RAY_AUTH_MODE $RAY_AUTH_TOKEN_PATH" > "$SAVED/auth"
"""


def submitted(written: Launch, folder: Path) -> list[str]:
    """The words that `ray` was called with by the script."""
    (folder / "bin").mkdir()
    (folder / "bin" / "ray").write_text(SAVE)
    (folder / "bin" / "ray").chmod(0o755)
    path = f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    environment = clean_environment(PATH=path, SAVED=str(folder), HOME="/home/me")
    subprocess.run(["bash"], input=written.text, text=True, env=environment, check=True)
    return (folder / "words").read_text().split("\n")[:-1]


def test_a_bundled_study_is_one_line(tmp_path: Path) -> None:
    written = launch("ray", request(), Where(address="http://head:8265"))
    words = submitted(written, tmp_path)
    assert words[:5] == ["job", "submit", "--address", "http://head:8265", "--submission-id"]
    assert words[5].startswith("small-") and words[5][6:].isdigit()
    command = (
        "tune-qat run quickstart --address auto --results s3://bucket/results --cpus-per-trial 1 --max-concurrent 8"
    )
    assert words[6:] == ["--no-wait", "--", *command.split(), "--no-progress"]
    assert (tmp_path / "auth").read_text() == "token /home/me/.ray/auth_token\n"


@pytest.mark.parametrize("given", [(), ("--allow-early-rung",)])
def test_the_run_gets_what_the_user_allows(given: tuple[str, ...]) -> None:
    words = ("launch", "quickstart", "--on", "slurm", "--results", "/nfs/r", "--nodes", "1", "--cpus-per-node", "4")
    text = CliRunner().invoke(app, [*words, "--venv", "/nfs/venv", *given]).stdout
    assert "--max-concurrent 4" in text and ("--allow-early-rung --no-progress" in text) == bool(given)


def test_every_option_is_one_of_the_installed_ray(tmp_path: Path) -> None:
    words = submitted(launch("ray", request(study_toml=STUDY_TOML), Where(address="http://h:8265")), tmp_path)
    ray = str(Path(sys.executable).with_name("ray"))
    known = subprocess.run([ray, "job", "submit", "--help"], capture_output=True, text=True, check=True).stdout
    options = [word for word in words[: words.index("--")] if word.startswith("--")]
    assert options == ["--address", "--submission-id", "--working-dir", "--no-wait"]
    assert all(f" {option} " in known for option in options)


def test_what_a_line_cannot_carry_travels_in_files(tmp_path: Path) -> None:
    """Ray joins the words of a job without quoting them for a shell."""
    one = request(study_toml=STUDY_TOML, overrides=(NASTY,), results=f"s3://b/{NASTY}")
    words = submitted(launch("ray", one, Where()), tmp_path)
    assert words[words.index("--") :] == ["--", "bash", "run.sh"]
    assert sorted(path.name for path in (tmp_path / "sent").iterdir()) == ["run.sh", "study.toml"]
    assert (tmp_path / "sent" / "study.toml").read_text() == STUDY_TOML
    run = shlex.split((tmp_path / "sent" / "run.sh").read_text())
    assert run[:4] == ["exec", "tune-qat", "run", "study.toml"]
    assert run[run.index("--set") + 1] == NASTY and run[run.index("--results") + 1] == f"s3://b/{NASTY}"


@pytest.mark.parametrize(
    ("given", "server"),
    [
        (None, None),
        ("https://head:8265", "https://head:8265"),
        ("ray://head:10001", "http://head:8265"),
        ("ray://[::1]", "http://[::1]:8265"),
    ],
)
def test_the_job_server_of_an_address(given: str | None, server: str | None) -> None:
    assert job_server(given) == server


@pytest.mark.parametrize("given", ["head:6379", "http://$(x)", "ray://a b", "auto", "ray://", "http://a\n"])
def test_another_address_has_no_job_server(given: str) -> None:
    with pytest.raises(UsageError, match="--address takes the cluster's job server"):
        job_server(given)


def test_ray_client_is_answered_with_the_line_that_submits() -> None:
    typed = ["tune-qat", "run", "quickstart", "--address", "auto", "--results", "here"]
    text = instead_of_client("ray://h:10001", name="q", space="quickstart", results="here", command=typed)
    line = next(line for line in text.splitlines() if "ray job submit" in line)
    words = shlex.split(line)
    assert words[words.index("--") + 1 :] == [*typed[:-1], "SHARED_FOLDER"]
    assert words[words.index("--address") + 1] == "http://h:8265"
    own = instead_of_client("ray://h:10001", name="q", space="own.toml", results="/nfs/r", command=typed)
    assert "tune-qat launch own.toml --on ray --address http://h:8265 --results /nfs/r --submit" in own
    assert "ray job submit" not in own


def test_the_script_for_a_running_cluster_says_what_keeps_usage_statistics_off() -> None:
    text = launch("ray", request(), Where()).text
    assert "reports usage statistics unless its head was started with --disable-usage-stats" in text


def test_a_script_for_a_running_cluster_names_a_missing_ray(tmp_path: Path) -> None:
    text = launch("ray", request(), Where()).text
    ended = subprocess.run(["/bin/bash"], input=text, env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert (ended.returncode, ended.stderr) == (1, "ray is not on PATH: activate its environment\n")


@pytest.mark.parametrize(
    ("target", "where", "part"),
    [
        ("ray", Where(image="i"), "--image is an option of --on kuberay, not of --on ray"),
        ("slurm", Where(service_account="i"), "--service-account is an option of --on kuberay"),
        ("kuberay", Where(venv="/v"), "--venv is an option of --on slurm and --on ray-up, not of --on kuberay"),
        ("ray-up", Where(), "--on ray-up needs --hosts HEAD,WORKER"),
        ("ray-up", Where(hosts="a,b", venv="~/venv"), "--venv takes the absolute path of an environment's folder"),
        ("ray-up", Where(hosts="head"), "--on ray-up needs --hosts HEAD,WORKER"),
        ("ray-up", Where(hosts="head,-oProxyCommand=x"), "--hosts takes letters"),
        ("ray-up", Where(hosts="head,w", user="a b"), "--user takes letters"),
    ],
)
def test_a_wrong_option_is_named(target: str, where: Where, part: str) -> None:
    with pytest.raises(UsageError) as caught:
        launch(target, request(), where)
    assert part in str(caught.value)


@pytest.mark.parametrize("results", ["results", "./r", "~/r", "/tmp/r", "/dev/shm/r", "file:///nfs/r", "/nfs/../tmp/r"])
@pytest.mark.parametrize(("target", "where"), [("ray", Where()), ("slurm", Where(venv="/v")), ("ray-up", HOSTS)])
def test_results_that_nodes_cannot_share_are_refused(target: str, where: Where, results: str) -> None:
    with pytest.raises(UsageError) as caught:
        launch(target, request(results=results), where)
    assert f"--results {results}" in str(caught.value) and "s3://bucket/folder" in str(caught.value)


def test_as_many_trials_at_once_as_all_nodes_hold() -> None:
    def at_once(**given: Any) -> Trials:
        return trials_at_once(
            **{"cpus": 1.0, "gpus": None, "nodes": 3, "cpus_per_node": 8, "gpus_per_node": 0, **given}
        )

    assert at_once() == Trials(cpus=1.0, gpus=None, concurrent=24)
    assert at_once(cpus=3.0).concurrent == 6
    assert at_once(gpus_per_node=4) == Trials(cpus=1.0, gpus=1.0, concurrent=12)
    assert at_once(gpus_per_node=2, gpus=0.5).concurrent == 12
    assert at_once(gpus_per_node=4, gpus=0.0).concurrent == 24
    assert at_once(nodes=None).concurrent is None
    for wrong in ({"cpus": 9.0}, {"gpus": 1.0}, {"gpus": 3.0, "gpus_per_node": 2}):
        with pytest.raises(UsageError, match="is more than a node has"):
            at_once(**wrong)


def test_every_study_file_travels_whole() -> None:
    for space in bundled():
        text = toml_text(merged(space))
        assert tomllib.loads(text) == merged(space), space
        assert Study.model_validate(tomllib.loads(text)) == Study.load(space), space


def test_a_script_is_not_ended_by_what_it_writes() -> None:
    with pytest.raises(ValueError):
        heredoc("x", "a\nTUNE_QAT_END\nrm -rf x")


def test_a_tool_that_is_missing_is_named_with_where_to_get_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(TuneQatError) as caught:
        submit([["sbatch"]], text="", needs="sbatch")
    assert "sbatch is not installed here" in str(caught.value) and "-o FILE" in str(caught.value)


def test_what_is_submitted_asks_for_no_usage_statistics(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    environment = with_programs(tmp_path, "sbatch")
    for name in ("PATH", "LOG"):
        monkeypatch.setenv(name, f"{tmp_path}/bin:{environment['PATH']}" if name == "PATH" else environment[name])
    monkeypatch.delenv("RAY_USAGE_STATS_ENABLED", raising=False)
    submit([["sbatch", "a"]], text="", needs="sbatch")
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "1")
    submit([["sbatch", "b"]], text="", needs="sbatch")
    assert Path(environment["LOG"]).read_text().splitlines() == ["sbatch a 0", "sbatch b 1"]


def test_what_is_submitted_is_handed_to_the_tool(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tool = tmp_path / "sbatch"
    tool.write_text(f"#!/bin/bash\ncat > {tmp_path}/got\n[ ! -e {tmp_path}/fail ]\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}{os.environ['PATH']}")
    submit([["sbatch"]], text="the script", needs="sbatch")
    assert (tmp_path / "got").read_text() == "the script"
    (tmp_path / "fail").touch()
    with pytest.raises(TuneQatError, match=r"sbatch failed \(status 1\)"):
        submit([["sbatch"]], text="", needs="sbatch")
