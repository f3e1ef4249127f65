"""Launches to write files for."""

import os
from typing import Any

from tune_qat.launch.request import Request, Trials

NASTY = """a b"c'd$(touch /tmp/never)`x`\\n#{}!;&|<>*~%é: - !!python/object"""
"""Characters that mean something to shells, YAML, TOML, Slurm or Ray."""
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
