from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import analysis.stats as stats_of
from tests.analysis.stats.scores import rows
from tests.analysis.stats.told import Told

RNG = np.random.default_rng(8)
ADAM, SGD = 0.8 + 0.01 * RNG.standard_normal((2, 6))


def asked(favour: float = 0.0, names: tuple[Any, Any] = ("by adam", "by sgd")) -> Told:
    """Six repeats, the starts in turn; the first favours adam."""
    parts = []
    for repeat in range(6):
        at = {"adam": [ADAM[repeat] + favour * (repeat % 2 == 0)], "sgd": [SGD[repeat]]}
        parts.append(rows(at, repeat=repeat, start_name=names[repeat % 2], margin=0.01))
    start = pd.DataFrame({"study_id": ["s"], "whole": ["s"], "alpha": [0.05], "reference": [None]})
    return Told(retrain_scores=pd.concat(parts), start=start)


def test_is_welchs_test_of_the_difference_from_one_start_and_from_the_other() -> None:
    (row,) = stats_of.start_effects(asked()).to_dict("records")
    difference = ADAM - SGD
    theirs = stats.ttest_ind(difference[::2], difference[1::2], equal_var=False)
    interval = theirs.confidence_interval(0.95)
    assert [row[name] for name in ("ci_low", "ci_high", "p", "p_holm")] == pytest.approx(
        [interval.low, interval.high, theirs.pvalue, theirs.pvalue], rel=1e-8
    )
    assert [row[name] for name in ("difference", "other_difference")] == pytest.approx(
        [difference[::2].mean(), difference[1::2].mean()], abs=1e-12
    )
    assert [row[name] for name in ("optimizer", "other", "start", "other_start", "n", "other_n", "changes")] == [
        "adam", "sgd", "by adam", "by sgd", 3, 3, False
    ]  # fmt: skip


def test_a_start_that_favours_its_own_optimizer_is_seen() -> None:
    (row,) = stats_of.start_effects(asked(favour=0.2)).to_dict("records")
    assert row["changes"] and row["change"] > 0.15


def test_starts_without_names_have_no_effect_to_show() -> None:
    assert stats_of.start_effects(asked(names=(None, None))).empty
