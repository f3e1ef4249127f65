import math
from typing import Any

import pandas as pd
import pytest

import analysis.stats as stats_of
from analysis.stats.ceiling import NO_CONTROL, SMALL, UNKNOWN
from tests.analysis.stats.told import Told, retrain

EXACT = 1e-9  # quotients of differences of numbers near 1
CONTROL: dict[str, Any] = {"method": "none", "weight_bits": 32, "activation_bits": 32}


@pytest.mark.parametrize("sign", [1, -1])
def test_error_rates_and_what_is_recovered_by_hand(sign: int) -> None:
    def of(*values: float) -> list[float]:
        return [value if sign > 0 else 1 - value for value in values]

    def arm(optimizer: str, *values: float, calibrated: float = 0.9, **more: Any) -> pd.DataFrame:
        (start,) = of(calibrated)
        return retrain(of(*values), optimizer=optimizer, calibrated=start, sign=sign, margin=0.01, **more)

    scores = pd.concat(
        [
            arm("adam", 0.98, 0.99, **CONTROL),
            arm("adam", 0.96, 0.97),
            arm("sgd", 0.98, 0.98, **CONTROL),
            arm("sgd", 0.93, 0.93),
            arm("lion", 0.92, 0.92),
        ]
    )
    found = stats_of.near_ceiling(Told(retrain_scores=scores)).set_index("optimizer")
    assert found["error"].to_dict() == pytest.approx({"adam": 0.035, "lion": 0.08, "sgd": 0.07}, abs=EXACT)
    assert found["error_ratio"].to_dict() == pytest.approx({"adam": 1, "lion": 8 / 3.5, "sgd": 2}, abs=EXACT)
    # adam: (0.965 - 0.9) of 0.985 - 0.9; sgd: 0.03 of 0.08.
    assert found.loc["adam", "recovered"] == pytest.approx(0.065 / 0.085, abs=EXACT)
    assert found.loc["sgd", ["loss", "recovered"]].tolist() == pytest.approx([0.08, 0.375], abs=EXACT)
    assert found["why"].to_dict() == {"adam": "", "lion": NO_CONTROL, "sgd": ""}


@pytest.mark.parametrize(("calibrated", "why"), [(0.97, SMALL), (None, UNKNOWN)])
def test_of_a_loss_below_two_margins_or_not_known_there_is_no_share(calibrated: float | None, why: str) -> None:
    scores = pd.concat([retrain([0.98], calibrated=0.98, **CONTROL), retrain([0.975], calibrated=calibrated)])
    row = stats_of.near_ceiling(Told(retrain_scores=scores)).iloc[0]
    assert math.isnan(row["recovered"]) and row["why"] == why


def test_of_decibels_there_is_no_error_rate() -> None:
    scores = retrain([27.1], unit="dB", calibrated=25.0)
    row = stats_of.near_ceiling(Told(retrain_scores=scores)).iloc[0]
    assert math.isnan(row["error"]) and math.isnan(row["error_ratio"])
