"""Primary answers of `lsq_optimizers`: two ways to the same numbers, on a made-up record whose truth is known."""

import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal

from benchmarks import lsq_optimizers, lsq_recompute
from tests.helpers.rows import filled, write

MARGINS = {"lenet5-mnist": 0.003, "espcn-div2k": 0.1}
REPEATS = 4
VARIES = json.dumps(["start", "split", "design", "order"])
ARMS = [(name, bits, None) for bits in (32, 4) for name in ("adam", "lion", "sgd")] + [
    (name, 4, level) for name in ("lion", "sgd") for level in ("own_rate", "adam")
]
SGD_LOSES, ADAM_STEPS_GAIN = 3.0, 2.0
"""In margins, at 4 bits."""


DEFINITION = json.dumps({"judgement": {"alpha": 0.05, "reference": "adam"}})


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four boards, each in a file for each block of two repeats."""
    results = tmp_path_factory.mktemp("results")
    draw = np.random.default_rng(0)
    for (workload, margin), init, block in product(MARGINS.items(), ("pretrain", "scratch"), range(2)):
        study = f"{workload}-{init}-{block}"
        arms, trials = list[dict[str, Any]](), list[dict[str, Any]]()
        for repeat, kind in product((2 * block, 2 * block + 1), ARMS):
            board = {"workload": workload, "init": init, "margin": margin, "repeat": repeat}
            arms.append(_arm(kind, board))
            scores = _truth(kind) + draw.normal(0, 0.5) + draw.normal(0, 0.1, 2)
            trials += [_trial(arms[-1], len(trials) + n, **values) for n, values in enumerate(_runs(margin * scores))]
        write(results, study, "studies", "study", filled("studies", definition_json=DEFINITION))
        write(results, study, "arms", "arms", *arms)
        write(results, study, "trials", "compact-1", *trials)
    return results


def _truth(kind: tuple[str, int, str | None]) -> float:
    """Return the score of an arm, in margins."""
    name, bits, level = kind
    if name == "sgd":
        return -SGD_LOSES * (bits == 4) * (level != "adam")
    return -ADAM_STEPS_GAIN * (level == "own_rate")


def _runs(scores: np.ndarray) -> list[dict[str, Any]]:
    chosen = [
        {"stage": stage, "config_id": config, "val_metric": metric}
        for config, metric in (("best", 0.45), ("other", 0.44))
        for stage in ("random", "finalists")
    ]
    return chosen + [{"stage": "retrain", "config_id": "best", "test_metric": 0.5 + score} for score in scores]


def _arm(kind: tuple[str, int, str | None], board: dict[str, Any]) -> dict[str, Any]:
    name, bits, level = kind
    return filled(
        "arms",
        **board,
        arm_id=f"{name}-w{bits}-{level or 'own'}-r{board['repeat'] + 1}",
        optimizer=name,
        step_optimizer=level,
        weight_bits=bits,
        activation_bits=bits,
        quantizer="lsq",
        ste="clip_then_round",
        first_last_bits=8,
        split_fingerprint="split",
        data_fingerprint="data",
        mode="comparison",
        metric="accuracy",
        unit="fraction",
        sign=1,
        trivial_score=0.1,
        trivial_test_score=0.1,
        max_epochs=3,
        best_config_id="best",
        whole="lsq_optimizers",
        varies_json=VARIES,
        planned_finalists=2,
    )


def _trial(arm: dict[str, Any], number: int, **values: Any) -> dict[str, Any]:
    same = ("arm_id", "workload", "optimizer", "weight_bits", "activation_bits", "quantizer")
    known = {name: arm[name] for name in same} | {"status": "completed", "learned": True, "epochs": 3, "seed": number}
    fitting = {name: arm[name] for name in ("data_fingerprint", "split_fingerprint")}
    recipe = json.dumps({"scheme": {name: arm[name] for name in ("ste", "first_last_bits")}})
    return filled("trials", trial_key=f"t{number:03}", params_json=recipe, **known, **fitting, **values)


@pytest.mark.slow
def test_both_ways_give_the_same_numbers(record: Path) -> None:
    ours, theirs = lsq_optimizers.primary(str(record)), lsq_recompute.primary([str(record)])
    columns = [column for column in ours if column != "why"]
    # One and the same arithmetic in another order: doubles agree far below the last digit that is shown.
    assert_frame_equal(ours[columns], theirs[columns], check_dtype=False, rtol=1e-9)
    assert ours["question"].tolist() == [1, 1, 2, 2, 3]


def test_what_is_there_is_found(record: Path) -> None:
    answers = lsq_optimizers.primary(str(record)).set_index(["question", "optimizer"])
    assert answers.loc[(1, "sgd"), "difference"] == pytest.approx(-SGD_LOSES, abs=0.7)  # four standard errors
    assert answers.loc[(2, "sgd"), "difference"] == pytest.approx(-SGD_LOSES, abs=1.6)  # two boards, four arms each
    assert answers.loc[(3, "all"), "difference"] == pytest.approx((ADAM_STEPS_GAIN + SGD_LOSES) / 2, abs=0.5)
    assert answers.loc[(1, "lion"), "p_holm"] > 0.05 > answers.loc[(1, "sgd"), "p_holm"]


def test_a_choice_that_the_trials_do_not_give_is_an_error(record: Path) -> None:
    trials = pd.DataFrame({"stage": "finalists", "config_id": ["a", "b"], "validated": [0.1, 0.2]})
    with pytest.raises(SystemExit, match="chose a with 0.1, but b has 0.2"):
        lsq_recompute.check_choice("arm", trials, "a")
