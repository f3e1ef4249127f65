"""What `ray up` is given, against the schema of the installed Ray, and run by a shell."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.launch.requests import HOSTS, NASTY, request, with_programs
from tune_qat.launch import launch
from tune_qat.launch.request import Request, Where


def checked(one: Request, where: Where = HOSTS) -> dict[str, Any]:
    """The cluster file as `ray up` reads it, accepted by its schema."""
    from ray.autoscaler._private.util import prepare_config, validate_config

    config: dict[str, Any] = yaml.safe_load(launch("ray-up", one, where).text)
    validate_config(prepare_config(config))
    return config


def test_a_cluster_file_is_what_the_installed_ray_takes() -> None:
    config = checked(request(gpus_per_node=2))
    assert config["provider"] == {"type": "local", "head_ip": "head", "worker_ips": ["10.0.0.2", "10.0.0.3"]}
    (head,) = (line for line in config["head_start_ray_commands"] if "ray start" in line)
    (worker,) = (line for line in config["worker_start_ray_commands"] if "ray start" in line)
    assert "RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=~/.ray/auth_token" in head and "--num-cpus=0 --num-gpus=0" in head
    assert "RAY_AUTH_MODE=token RAY_AUTH_TOKEN_PATH=~/.ray/auth_token" in worker
    assert "--num-cpus=4 --num-gpus=2" in worker
    assert config["file_mounts"] == {"~/.ray/auth_token": "~/.ray/auth_token"}


def test_what_runs_on_a_machine_finds_the_environment_of_venv_and_reports_no_usage(tmp_path: Path) -> None:
    where = Where(hosts="head,10.0.0.2", venv=str(tmp_path / "a b" / ".venv"))
    environment = with_programs(Path(str(where.venv)), "ray", "tune-qat")
    config = checked(request(), where)
    starts = [*config["head_start_ray_commands"], *config["worker_start_ray_commands"]]
    for command in (*config["setup_commands"], *starts, launch("ray-up", request(), where).commands[1][3]):
        subprocess.run(["/bin/bash", "-c", command], env=environment, check=True)
    ran = Path(environment["LOG"]).read_text().splitlines()
    assert ran == ["ray stop 0", "ray start 0", "ray stop 0", "ray start 0", "tune-qat run 0"]


def test_a_machine_without_the_programs_ends_ray_up_with_a_sentence(tmp_path: Path) -> None:
    (check,) = checked(request(), Where(hosts="a,b", venv=str(tmp_path)))["setup_commands"]
    for there, missing in ((), "ray"), (("ray",), "tune-qat"), (("ray", "tune-qat"), None):
        environment = with_programs(tmp_path, *there)
        ended = subprocess.run(["/bin/bash", "-c", check], env=environment, capture_output=True, text=True)
        assert ended.returncode == (1 if missing else 0), ended
        assert (f"{missing} is not on PATH of " in ended.stderr and "--venv" in ended.stderr) == bool(missing)


def test_the_schema_of_the_installed_ray_refuses_a_misspelt_field() -> None:
    import jsonschema
    from ray.autoscaler._private.util import prepare_config, validate_config

    config = yaml.safe_load(launch("ray-up", request(), HOSTS).text)
    with pytest.raises(jsonschema.ValidationError):
        validate_config(prepare_config(config | {"head_start_commands": []}))


def test_the_head_gets_the_study_and_the_command_as_given(tmp_path: Path) -> None:
    one = request(study_toml="name = 'it''s'\n$(x) `y`\n", overrides=(NASTY,), results=f"/nfs/{NASTY}")
    (write,) = checked(one)["head_setup_commands"]
    subprocess.run(["bash", "-c", write], env=os.environ | {"HOME": str(tmp_path)}, check=True)
    assert (tmp_path / ".tune_qat" / "small.toml").read_text() == one.study_toml
    up, execute = launch("ray-up", one, HOSTS, "c.yaml").commands
    assert (up, execute[:3]) == (["ray", "up", "-y", "c.yaml"], ["ray", "exec", "c.yaml"])
    shown = execute[3].replace("tune-qat run", 'printf "%s\\n"')
    ran = subprocess.run(["bash", "-c", shown], env={"HOME": "/h"}, capture_output=True, text=True, check=True)
    words = ran.stdout.split("\n")
    assert words[0] == "/h/.tune_qat/small.toml"
    assert words[words.index("--set") + 1] == NASTY and words[words.index("--results") + 1] == f"/nfs/{NASTY}"
