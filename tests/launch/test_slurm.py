"""The script for Slurm: its syntax, and a run of it with stubs in place of `scontrol` and `srun`."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.launch.requests import NASTY, STUDY_TOML, clean_environment, request
from tests.tuning.test_run import STUDY_FILE
from tune_qat.config import UsageError
from tune_qat.launch.request import Request, Trials, Where
from tune_qat.launch.slurm import script
from tune_qat.results.reader import read_rows

SCONTROL = """#!/bin/bash
echo "$@" >> "$STUB_LOG"
if [ "$1" = show ]; then echo 127.0.0.1; fi
"""
SRUN = """#!/bin/bash
echo srun "$@" >> "$STUB_LOG"
while [ "${1#--}" != "$1" ]; do shift; done
exec "$@"
"""
RAY = """#!/bin/bash
printf "%s\\n" "$@" >> "$STUB_LOG"
cp "$RAY_TMPDIR/study.toml" "$HOME/seen.toml"
sleep "${STUB_SLEEP:-0}"
"""
JOB = {"SLURM_JOB_NODELIST": "n[1]", "SLURM_JOB_NUM_NODES": "1", "SLURM_CPUS_PER_TASK": "2"}


def options(text: str) -> dict[str, str]:
    """What `sbatch` reads of the script."""
    lines = [line.removeprefix("#SBATCH --") for line in text.splitlines() if line.startswith("#SBATCH")]
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def stubs(folder: Path, **programs: str) -> dict[str, str]:
    """Programs ahead on PATH, and the environment of a job that sees them."""
    bin_folder = folder / "bin"
    bin_folder.mkdir()
    for name, text in programs.items():
        (bin_folder / name).write_text(text)
        (bin_folder / name).chmod(0o755)
    path = f"{bin_folder}{os.pathsep}{os.environ['PATH']}"
    job = {**JOB, "SLURM_JOB_ID": str(os.getpid()), "STUB_LOG": str(folder / "log"), "HOME": str(folder)}
    return clean_environment(**job, PATH=path)


def own_path(text: str, environment: dict[str, str]) -> str:
    """The script with the stubs before the folder that it puts first on PATH."""
    line = f'export PATH={Path(sys.executable).parent}:"$PATH"'
    assert text.count(line) == 1
    return text.replace(
        line, f"export PATH={environment['PATH'].split(os.pathsep)[0]}:{Path(sys.executable).parent}:$PATH"
    )


@pytest.mark.parametrize(
    "one",
    [
        request(),
        request(study_toml=STUDY_TOML, overrides=(NASTY,), data_dir=f"/{NASTY}", results=f"/shared/{NASTY}"),
        request(gpus_per_node=4, memory_per_node=64, seconds=3_600, search_trials=0),
    ],
)
def test_is_valid_bash(one: Request) -> None:
    checked = subprocess.run(["bash", "-n"], input=script(one, Where()), text=True, capture_output=True)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_asks_slurm_for_what_was_given() -> None:
    one = request(gpus_per_node=4, memory_per_node=64, seconds=93_600, trials=Trials(cpus=2, gpus=0.5, concurrent=16))
    text = script(one, Where(partition="gpu", account="a-1"))
    assert options(text) == {
        "job-name": "small",
        "partition": "gpu",
        "account": "a-1",
        "nodes": "2",
        "ntasks-per-node": "1",
        "cpus-per-task": "4",
        "gpus-per-node": "4",
        "mem": "64G",
        "time": "1-02:00:00",
        "signal": "B:USR1@120",
        "output": "small-%j.log",
        "open-mode": "append",
        "exclusive": "",
        "requeue": "",
    }
    assert "--cpus-per-trial 2 --gpus-per-trial 0.5 --max-concurrent 16 --no-progress" in text
    assert "--num-gpus=4" in text and "RAY_AUTH_MODE=token" in text


@pytest.mark.parametrize(
    ("one", "where", "part"),
    [
        (request(nodes=None), Where(), "needs --nodes and --cpus-per-node"),
        (request(results="results"), Where(), "each node of a cluster would take this for another folder"),
        (request(results="/tmp/r"), Where(), "every node has a folder of its own there"),
        (request(), Where(partition="a b"), "--partition takes letters"),
        (request(), Where(account="a\n#SBATCH --x"), "--account takes letters"),
    ],
)
def test_what_slurm_cannot_have_is_refused(one: Request, where: Where, part: str) -> None:
    with pytest.raises(UsageError) as caught:
        script(one, where)
    assert part in str(caught.value)


def test_every_word_arrives_as_it_was_given(tmp_path: Path) -> None:
    environment = stubs(tmp_path, scontrol=SCONTROL, srun=SRUN, ray=RAY)
    one = request(study_toml=STUDY_TOML, overrides=(f"name={NASTY}",), results=f"/shared/{NASTY}")
    text = own_path(script(one, Where()), environment)
    subprocess.run(["bash"], input=text, text=True, env=environment, check=True, cwd=tmp_path)
    words = (tmp_path / "log").read_text().split("\n")
    study = f"/tmp/r_{os.getpid()}/study.toml"
    assert words[words.index("--results") + 1] == f"/shared/{NASTY}"
    assert words[words.index("--set") + 1] == f"name={NASTY}"
    assert words[words.index("tune-qat") :][:3] == ["tune-qat", "run", study]
    assert (tmp_path / "seen.toml").read_text() == STUDY_TOML
    assert not Path(study).parent.exists()


def test_the_time_limit_puts_the_job_back_into_the_queue(tmp_path: Path) -> None:
    environment = stubs(tmp_path, scontrol=SCONTROL, srun=SRUN, ray=RAY) | {"STUB_SLEEP": "1"}
    text = own_path(script(request(), Where()), environment)
    # Slurm sends the signal to the shell of the script alone.
    signalled = text.replace("wait $!", "kill -USR1 $$; wait $!")
    assert signalled != text
    subprocess.run(["bash"], input=signalled, text=True, env=environment, check=False, cwd=tmp_path)
    assert f"requeue {os.getpid()}" in (tmp_path / "log").read_text().splitlines()


@pytest.mark.slow
@pytest.mark.xdist_group("ray")
def test_a_study_runs_to_its_end_under_symmetric_run(tmp_path: Path) -> None:
    """One node. In process namespaces of its own: `ray symmetric-run` ends with `ray stop`, which stops every Ray."""
    apart = ["unshare", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid() != 0:
        apart[1:1] = ["--user", "--map-root-user"]
    if subprocess.run([*apart, "true"], capture_output=True).returncode:
        pytest.skip("no namespaces here, and without one this would stop the Ray clusters of others")
    environment = stubs(tmp_path, scontrol=SCONTROL, srun=SRUN)
    one = request(
        study_toml=STUDY_FILE,
        results="s3://bucket/results",
        nodes=1,
        cpus_per_node=2,
        trials=Trials(cpus=1.0, gpus=None, concurrent=2),
        overrides=("name=tiny", 'space.optimizers=["adam"]', "stages.random=0", "stages.retrain=1"),
        search_trials=1,
    )
    # What this machine has is a folder of one machine, which launch refuses.
    text = own_path(script(one, Where()), environment).replace("s3://bucket/results", str(tmp_path / "results"))
    ended = subprocess.run([*apart, "bash"], input=text, text=True, env=environment, capture_output=True, timeout=180)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "Running command on head node" in ended.stdout
    (study,) = read_rows(tmp_path / "results", "studies")
    assert (study["study_id"], study["complete"]) == ("tiny", True)
    assert not Path(f"/tmp/r_{os.getpid()}").exists()
    assert (tmp_path / ".ray" / "auth_token").stat().st_mode & 0o077 == 0
