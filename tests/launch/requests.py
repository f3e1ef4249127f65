"""Launches to write files for."""

import os
from pathlib import Path
from typing import Any

from tune_qat.launch.request import Request, Trials, Where

NASTY = """a b"c'd$(touch /tmp/never)`x`\\n#{}!;&|<>*~%é: - !!python/object"""
"""Characters that mean something to shells, YAML, TOML, Slurm or Ray."""
HOSTS = Where(hosts="head,10.0.0.2,10.0.0.3", user="me")
STUDY_TOML = "name = 'own'\n"


def clean_environment(**given: str) -> dict[str, str]:
    """That of this process without what sessions of Ray in it have left there."""
    return {name: value for name, value in os.environ.items() if not name.startswith("RAY_")} | given


def request(**changes: Any) -> Request:
    """Everything plain: two nodes of four CPUs; `changes` replace fields."""
    values: dict[str, Any] = {
        "name": "small",
        "space": "quickstart",
        "study_toml": None,
        "results": "s3://bucket/results",
        "data_dir": None,
        "overrides": (),
        "search_trials": None,
        "trials": Trials(cpus=1.0, gpus=None, concurrent=8),
        "nodes": 2,
        "cpus_per_node": 4,
        "gpus_per_node": 0,
        "memory_per_node": None,
        "seconds": None,
    }
    return Request(**{**values, **changes})


def with_programs(venv: Path, *names: str) -> dict[str, str]:
    """Programs in an environment, each of which writes down its words; the variables of a shell without it on PATH."""
    (venv / "bin").mkdir(parents=True, exist_ok=True)
    for name in names:
        (venv / "bin" / name).write_text(f'#!/bin/bash\necho {name} $1 $RAY_USAGE_STATS_ENABLED >> "$LOG"\n')
        (venv / "bin" / name).chmod(0o755)
    return {"PATH": "/usr/bin:/bin", "HOME": str(venv), "LOG": str(venv / "log")}
