"""The configuration of one trial as TOML, with the commands that train it again and export its model."""

import json
from typing import Any

from analysis.answers import Answers
from tune_qat.config.statuses import RETRAIN
from tune_qat.results.publishable import publishable
from tune_qat.text.toml import toml_text

HASHES = "sources"
"""Field of a configuration that says which code ran, and sets nothing."""


def chosen_toml(answers: Answers, trial_key: str, head: str) -> str:
    """Return a trial's configuration as TOML, whose keys `tune-qat train --set` takes; empty where it is not recorded.

    Args:
        answers: the record.
        trial_key: the trial.
        head: first line, a comment.
    """
    key = trial_key.replace("'", "''")
    found = answers.frame(f"SELECT params_json, stage FROM trials WHERE trial_key = '{key}' ORDER BY study_id LIMIT 1")
    try:
        values = json.loads(found["params_json"].iloc[0])
    except (IndexError, TypeError, ValueError):
        return ""
    if not isinstance(values, dict):
        return ""
    results = publishable(str(answers.paths[0])) if len(answers.paths) == 1 else "RESULTS"
    lines = [f"train it again:    tune-qat rerun {results} {trial_key}"]
    if found["stage"].iloc[0] == RETRAIN:
        lines.insert(0, f"the trained model: tune-qat export {results} {trial_key} -o model.onnx")
    comments = "".join(f"# {line}\n" for line in (" ".join(head.split()), *lines))
    return f"{comments}\n{toml_text(_used({name: one for name, one in values.items() if name != HASHES}))}"


def _used(values: dict[str, Any]) -> dict[str, Any]:
    """Leave out what is not set, at any depth: TOML has no null, and an empty list or section says nothing."""
    kept = {name: _used(one) if isinstance(one, dict) else one for name, one in values.items()}
    return {name: one for name, one in kept.items() if one is not None and one != {} and one != []}
