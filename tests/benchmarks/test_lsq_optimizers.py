"""Primary answers of `lsq_optimizers`: two ways to the same numbers, on a made-up record whose truth is known."""

import hashlib
import json
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from pandas.testing import assert_frame_equal
from scipy import stats

from benchmarks import lsq_optimizers, lsq_recompute, lsq_tpe
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
    return made(tmp_path_factory.mktemp("results"), seed=0)


def made(results: Path, *, seed: int, gain: float = 0.0) -> Path:
    """Four boards, each in a file for each block of two repeats; Lion is better by the gain, in margins."""
    draw = np.random.default_rng(seed)
    for (workload, margin), init, block in product(MARGINS.items(), ("pretrain", "scratch"), range(2)):
        study = f"{workload}-{init}-{block}"
        arms, trials = list[dict[str, Any]](), list[dict[str, Any]]()
        for repeat, kind in product((2 * block, 2 * block + 1), ARMS):
            board = {"workload": workload, "init": init, "margin": margin, "repeat": repeat}
            arms.append(_arm(kind, board))
            scores = _truth(kind) + gain * (kind[0] == "lion") + draw.normal(0, 0.5) + draw.normal(0, 0.1, 2)
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


@pytest.mark.slow
def test_two_searches_of_the_same_arms_pair_by_repeat(record: Path, tmp_path: Path) -> None:
    """Against a plain computation from the scores: Satterthwaite's interval of the mean of two means."""
    tpe = made(tmp_path / "tpe", seed=1, gain=1.5)
    told = lsq_tpe.against_sobol(str(record), str(tpe)).set_index("optimizer")
    assert {"adam", "lion", "sgd", "all"} <= set(told.index) and set(told["boards"]) == {2}
    sobol, other = (
        lsq_recompute.scored([str(one)]).query("weight_bits == 4 and init == 'pretrain'") for one in (record, tpe)
    )
    key = ["workload", "optimizer", "step_optimizer", "repeat"]
    apart = (other.set_index(key)["score"] - sobol.set_index(key)["score"]).xs("lion", level="optimizer")
    own = apart[apart.index.get_level_values("step_optimizer").isna()]
    means = own.groupby("workload").mean()
    parts = own.groupby("workload").var() / REPEATS / 4
    df = parts.sum() ** 2 / (parts**2 / (REPEATS - 1)).sum()
    half = stats.t.ppf(0.975, df) * parts.sum() ** 0.5
    found = told.loc["lion"]
    assert found["difference"] == pytest.approx(means.mean(), abs=1e-9)  # the same arithmetic in another order
    assert found["ci_high"] - found["difference"] == pytest.approx(half, abs=1e-9)
    assert found["difference"] == pytest.approx(1.5, abs=1.1)  # four standard errors: 0.76 / sqrt(8)
    assert told.loc["all", "difference"] == pytest.approx(told["difference"].iloc[:-1].mean(), abs=1e-9)


def test_the_files_of_the_study_are_those_that_were_fixed() -> None:
    """The page names the hash of all its files: one that is changed after the first arm would be seen."""
    root = Path(__file__).parents[2]
    whole = b"".join(path.read_bytes() for path in sorted((root / "search_spaces").glob("lsq_optimizers_*.toml")))
    page = (root / "docs" / "results" / "lsq_optimizers" / "README.md").read_text(encoding="utf-8")
    assert hashlib.sha256(whole).hexdigest() in page


def test_a_choice_that_the_trials_do_not_give_is_an_error(record: Path) -> None:
    trials = pd.DataFrame({"stage": "finalists", "config_id": ["a", "b"], "validated": [0.1, 0.2]})
    with pytest.raises(SystemExit, match="chose a with 0.1, but b has 0.2"):
        lsq_recompute.check_choice("arm", trials, "a")
