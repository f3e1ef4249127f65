"""Answers made by hand, for tests of the tables that stand on them."""

import json
from collections.abc import Sequence
from typing import Any

import pandas as pd

from analysis.answers import Answers
from tests.helpers.records import SPACE


class Told(Answers):
    """Answers that are what a test says they are."""

    def __init__(self, **frames: pd.DataFrame) -> None:
        self._told = frames

    def frame(self, query: str) -> pd.DataFrame:
        return self._told[query]


def board(**values: Any) -> dict[str, Any]:
    known = {
        "study_id": "s",
        "mode": "comparison",
        "workload": "m-d",
        "method": "lsq",
        "weight_bits": 4,
        "activation_bits": 4,
        "optimizer": "adam",
        "metric": "accuracy",
        "unit": "fraction",
        "sign": 1,
        "margin": 0.01,
        "trivial": 0.1,
    }
    return {**known, **values}


def tuning(scores: Sequence[float | None], stage: str = "random", **values: Any) -> pd.DataFrame:
    """Rows of `tuning_scores`; None: stopped by ASHA. A column may have a value for each row."""
    known = board(
        arm_id=f"{values.get('optimizer', 'adam')}-w{values.get('weight_bits', 4)}",
        stage=stage,
        trial_key=[f"{stage}{i}" for i in range(len(scores))],
        learning_rate=1e-3,
        default_learning_rate=1e-3,
        batch_size=32,
        status=["stopped" if score is None else "completed" for score in scores],
        epochs_run=4,
        epochs=4,
        params_json="{}",
        repeat=0,
        trial_number=range(len(scores)),
        sampler_seed=None,
        design=None,
        init="pretrain",
        base_optimizer=values.get("optimizer", "adam"),
    )
    return pd.DataFrame({**known, **values, "score": pd.Series(scores, dtype=float)})


def retrain(scores: Sequence[float], **values: Any) -> pd.DataFrame:
    """Rows of `retrain_scores`: test scores of seeds 0, 1, ..."""
    known = board(
        repeat=0,
        seed=range(len(scores)),
        trial_key=[f"retrain{i}" for i in range(len(scores))],
        config_id="best",
        failed=False,
        val_score=list(scores),
        n_test=1000,
        learning_rate=1e-3,
        batch_size=32,
        copied=False,
        collapsed=False,
        whole=None,
        init="pretrain",
        start_name=None,
        control=None,
        control_for=None,
    )
    return pd.DataFrame({**known, **values, "score": list(scores)})


def spaces_of(optimizer: str, **ranges: Any) -> pd.DataFrame:
    """The searched ranges of an optimizer at 4 bits."""
    space = json.dumps({optimizer: ranges or SPACE[optimizer]})
    return pd.DataFrame({"study_id": ["s"], "arm_id": [f"{optimizer}-w4"], "space_json": [space]})
