from typing import Any

import pandas as pd
import pytest

from analysis.stats.tuning_gain import gain_from_tuning
from tests.analysis.stats.told import Told, retrain, tuning

EXACT = 1e-12  # a few double-precision operations on numbers near 1


@pytest.mark.parametrize("sign", [1, -1])
def test_tuned_minus_default_on_validation_data(sign: int) -> None:
    said: dict[str, Any] = {"sign": sign, "trivial": 0.1 if sign > 0 else 0.9}
    default, middle, best = (0.6, 0.7, 0.8) if sign > 0 else (0.4, 0.3, 0.2)
    scores = pd.concat(
        [
            tuning([default], "default", **said),
            tuning([said["trivial"]], **said),
            tuning([best, None], "search", **said),
        ]
    )
    # The second of three seeds diverged: its validation score is the trivial one.
    fresh = retrain([0.5] * 3, val_score=[middle, said["trivial"], middle], failed=[False, True, False], sign=sign)
    row = gain_from_tuning(Told(tuning_scores=scores, retrain_scores=fresh)).iloc[0]
    assert (row["n"], row["default"], row["tuned"], row["retrained_n"]) == (3, default, best, 3)
    assert row["gain"] == pytest.approx(0.2, abs=EXACT)
    retrained = (2 * middle + said["trivial"]) / 3
    assert row["retrained"] == pytest.approx(retrained, abs=EXACT)
    assert row["retrained_gain"] == pytest.approx(sign * (retrained - default), abs=EXACT)


def test_no_default_and_no_retrain_have_no_gain() -> None:
    found = gain_from_tuning(Told(tuning_scores=tuning([0.7], "search"), retrain_scores=retrain([])))
    assert found["tuned"].tolist() == [0.7]
    assert found[["default", "gain", "retrained", "retrained_gain"]].isna().all(axis=None)


def test_repeats_are_averaged_and_joint_mode_has_no_gain() -> None:
    scores = pd.concat(
        [
            tuning([0.5], "default", arm_id="r0"),
            tuning([0.7], "search", arm_id="r0"),
            tuning([0.5], "default", arm_id="r1"),
            tuning([0.8], "search", arm_id="r1"),
            tuning([0.9], "search", mode="joint"),
        ]
    )
    found = gain_from_tuning(Told(tuning_scores=scores, retrain_scores=retrain([])))
    assert found[["n", "default", "tuned"]].values.tolist() == [[4, 0.5, 0.75]]
    assert found["gain"].tolist() == pytest.approx([0.25], abs=EXACT)
