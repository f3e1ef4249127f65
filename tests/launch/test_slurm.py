"""The script for Slurm: its syntax, and a run of it with stubs in place of `scontrol` and `srun`."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.runs import study_text
from tests.helpers.studies import tiny_study
from tests.launch.requests import NASTY, STUDY_TOML, clean_environment, request
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
LOOK = """[ "$1" != symmetric-run ] || stat -c %a "$RAY_TMPDIR" > "$HOME/mode"
"""
HERE = Where(venv=str(Path(sys.executable).parent.parent))
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
    checked = subprocess.run(["bash", "-n"], input=script(one, HERE), text=True, capture_output=True)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_asks_slurm_for_what_was_given() -> None:
    one = request(gpus_per_node=4, memory_per_node=64, seconds=93_600, trials=Trials(cpus=2, gpus=0.5, concurrent=16))
    text = script(one, Where(partition="gpu", account="a-1", venv="/shared/venv"))
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
    assert "--num-gpus=4" in text and "RAY_AUTH_MODE=token" in text and "--disable-usage-stats" in text
    assert 'export PATH=/shared/venv/bin:"$PATH"' in text


@pytest.mark.parametrize(
    ("one", "where", "part"),
    [
        (request(nodes=None), Where(), "needs --nodes and --cpus-per-node"),
        (request(results="results"), Where(), "each node of a cluster would take this for another folder"),
        (request(results="/tmp/r"), Where(), "every node has a folder of its own there"),
        (request(), Where(partition="a b"), "--partition takes letters"),
        (request(), Where(account="a\n#SBATCH --x"), "--account takes letters"),
        (request(), Where(venv="venv"), "--venv takes the absolute path of an environment's folder on the nodes"),
        (request(), Where(venv="/a\nb"), "--venv takes the absolute path"),
    ],
)
def test_what_slurm_cannot_have_is_refused(one: Request, where: Where, part: str) -> None:
    with pytest.raises(UsageError) as caught:
        script(one, where)
    assert part in str(caught.value)


@pytest.mark.parametrize("folder", ["/tmp/x/bin", "/var/tmp/venv/bin", "/dev/shm/bin"])
def test_an_environment_that_no_other_machine_has_is_refused(monkeypatch: pytest.MonkeyPatch, folder: str) -> None:
    monkeypatch.setattr(sys, "executable", f"{folder}/python")
    with pytest.raises(UsageError, match=f"This tune-qat is in {folder}, .*: --venv /shared/venv"):
        script(request(), Where())
    assert 'export PATH=/shared/venv/bin:"$PATH"' in script(request(), Where(venv="/shared/venv"))


def test_an_environment_elsewhere_is_that_of_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/home/me/a b/.venv/bin/python")
    assert "export PATH='/home/me/a b/.venv/bin':\"$PATH\"" in script(request(), Where())


@pytest.mark.parametrize("missing", ["ray", "tune-qat"])
def test_a_program_that_the_node_lacks_is_named(tmp_path: Path, missing: str) -> None:
    (tmp_path / "bin").mkdir()
    for program in {"ray", "tune-qat"} - {missing}:
        (tmp_path / "bin" / program).write_text("#!/bin/bash\n")
        (tmp_path / "bin" / program).chmod(0o755)
    text = script(request(), Where(venv=str(tmp_path)))
    environment = {**JOB, "SLURM_JOB_ID": "1", "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
    ended = subprocess.run(["bash"], input=text, text=True, env=environment, capture_output=True, cwd=tmp_path)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"{missing} is not on PATH of ") and "--venv" in ended.stderr


def logs_of(shown: str) -> Path:
    """The folder that the script names."""
    return Path(shown.partition("Ray's logs are in ")[2].split()[0])


def test_no_folder_that_others_can_have_made_is_used(tmp_path: Path) -> None:
    planted = tmp_path / "planted"
    planted.mkdir(mode=0o777)
    guess = f"#!/bin/bash\necho {planted}\n"
    environment = stubs(tmp_path, scontrol=SCONTROL, srun=SRUN, ray=RAY, mktemp=guess)
    text = own_path(script(request(study_toml=STUDY_TOML), HERE), environment)
    ended = subprocess.run(["bash"], input=text, text=True, env=environment, capture_output=True, cwd=tmp_path)
    assert ended.returncode != 0 and "File exists" in ended.stderr
    assert not list(planted.iterdir()) and not (tmp_path / "seen.toml").exists()


def test_every_attempt_has_a_folder_of_its_own_on_each_node_that_only_its_user_may_open(tmp_path: Path) -> None:
    environment = stubs(tmp_path, scontrol=SCONTROL, srun=SRUN, ray=RAY + LOOK)
    text = own_path(script(request(study_toml=STUDY_TOML), HERE), environment)
    folders = []
    for _ in range(2):
        ended = subprocess.run(["bash"], input=text, text=True, env=environment, stdout=subprocess.PIPE, cwd=tmp_path)
        folders.append(logs_of(ended.stdout))
        assert ended.returncode == 0 and (tmp_path / "mode").read_text() == "700\n"
    assert folders[0] != folders[1] and len(str(folders[0])) == len("/tmp/r_") + 8
    assert "mkdir -m 700" in next(line for line in (tmp_path / "log").read_text().splitlines() if "srun" in line)


def test_every_word_arrives_as_it_was_given(tmp_path: Path) -> None:
    environment = stubs(tmp_path, scontrol=SCONTROL, srun=SRUN, ray=RAY)
    one = request(study_toml=STUDY_TOML, overrides=(f"name={NASTY}",), results=f"/shared/{NASTY}")
    text = own_path(script(one, HERE), environment)
    ended = subprocess.run(["bash"], input=text, text=True, env=environment, stdout=subprocess.PIPE, cwd=tmp_path)
    assert ended.returncode == 0
    words = (tmp_path / "log").read_text().split("\n")
    study = f"{logs_of(ended.stdout)}/study.toml"
    assert words[words.index("--results") + 1] == f"/shared/{NASTY}"
    assert words[words.index("--set") + 1] == f"name={NASTY}"
    assert words[words.index("tune-qat") :][:3] == ["tune-qat", "run", study]
    assert (tmp_path / "seen.toml").read_text() == STUDY_TOML
    assert not Path(study).parent.exists()


@pytest.mark.slow
def test_the_time_limit_puts_the_job_back_into_the_queue(tmp_path: Path) -> None:
    environment = stubs(tmp_path, scontrol=SCONTROL, srun=SRUN, ray=RAY) | {"STUB_SLEEP": "1"}
    text = own_path(script(request(), HERE), environment)
    # Slurm sends the signal to the shell of the script alone.
    signalled = text.replace("wait $!", "kill -USR1 $$; wait $!")
    assert signalled != text
    ended = subprocess.run(["bash"], input=signalled, text=True, env=environment, stdout=subprocess.PIPE, cwd=tmp_path)
    shutil.rmtree(logs_of(ended.stdout), ignore_errors=True)
    assert f"requeue {os.getpid()}" in (tmp_path / "log").read_text().splitlines()


@pytest.mark.ray
@pytest.mark.slow
def test_a_study_runs_to_its_end_under_symmetric_run(tmp_path: Path) -> None:
    """One node. In process namespaces of its own: `ray symmetric-run` ends with `ray stop`, which stops every Ray."""
    apart = ["unshare", "--pid", "--mount", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid() != 0:
        apart[1:1] = ["--user", "--map-root-user"]
    if subprocess.run([*apart, "true"], capture_output=True).returncode:
        pytest.skip("no namespaces here, and without one this would stop the Ray clusters of others")
    environment = stubs(tmp_path, scontrol=SCONTROL, srun=SRUN)
    one = request(
        study_toml=study_text(tiny_study()),
        results="s3://bucket/results",
        nodes=1,
        cpus_per_node=2,
        trials=Trials(cpus=1.0, gpus=None, concurrent=1),
        overrides=("name=tiny", 'space.optimizers=["adam"]', "stages.random=0", "stages.retrain=1"),
        search_trials=1,
    )
    # What this machine has is a folder of one machine, which launch refuses.
    text = own_path(script(one, HERE), environment).replace("s3://bucket/results", str(tmp_path / "results"))
    ended = subprocess.run([*apart, "bash"], input=text, text=True, env=environment, capture_output=True, timeout=180)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "Running command on head node" in ended.stdout
    (study,) = read_rows(tmp_path / "results", "studies")
    assert (study["study_id"], study["complete"]) == ("tiny", True)
    assert not logs_of(ended.stdout).exists()
    assert (tmp_path / ".ray" / "auth_token").stat().st_mode & 0o077 == 0
