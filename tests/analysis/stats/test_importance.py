import json
import math
from typing import Any

import numpy as np
import optuna
import pandas as pd
import pytest

from analysis.stats.importance import SPACES, Ranges, board_importances, importance, importances
from tests.analysis.stats.told import Told, spaces_of, tuning

EXACT = 1e-12  # the same library on the same trials
RANGES: Ranges = {
    "learning_rate": {"low": 1e-5, "high": 1e-1, "log": True},
    "batch_size": {"low": 8, "high": 64},
    "momentum": {"low": 0.0, "high": 0.99},
}


def drawn(n: int, seed: int = 0) -> tuple[pd.DataFrame, "np.ndarray"]:
    """Random trials of which the learning rate decides everything, but for a little noise."""
    generator = np.random.default_rng(seed)
    values = pd.DataFrame(
        {
            "learning_rate": 10 ** generator.uniform(-5, -1, n),
            "batch_size": 2 ** generator.integers(3, 7, n),
            "momentum": generator.uniform(0, 0.99, n),
        }
    )
    objectives = 1 - 0.1 * (np.log10(values["learning_rate"]) + 3) ** 2 + 0.01 * generator.normal(size=n)
    return values, objectives.to_numpy()


def frame(values: pd.DataFrame, scores: "np.ndarray", **more: Any) -> pd.DataFrame:
    options = [{"optimizer_options": {"momentum": momentum}} for momentum in values["momentum"]]
    rates, sizes = values["learning_rate"].tolist(), values["batch_size"].tolist()
    params = [json.dumps(config) for config in options]
    return tuning(list(scores), params_json=params, learning_rate=rates, batch_size=sizes, **more)


class TestImportance:
    def test_is_optunas_of_a_study_of_its_own(self) -> None:
        values, objectives = drawn(60)
        study = optuna.create_study(study_name="oracle", direction="minimize")
        distributions = {
            "learning_rate": optuna.distributions.FloatDistribution(1e-5, 1e-1, log=True),
            "batch_size": optuna.distributions.IntDistribution(8, 64, log=True),
            "momentum": optuna.distributions.FloatDistribution(0.0, 0.99),
        }
        for i, objective in enumerate(objectives):
            params = {name: values[name].tolist()[i] for name in values}
            study.add_trial(
                optuna.trial.create_trial(params=params, distributions=distributions, value=-float(objective))
            )
        expected = optuna.importance.get_param_importances(study)  # PED-ANOVA of the best tenth is its default
        found = {one.parameter: one.share for one in importance(values, objectives, RANGES)}
        assert found == pytest.approx(expected, abs=EXACT)

    def test_what_decides_everything_is_found_and_the_interval_says_so(self) -> None:
        rate, batch_size, momentum = importance(*drawn(100), RANGES)
        assert rate.share + batch_size.share + momentum.share == pytest.approx(1.0, abs=EXACT)
        assert rate.share > 0.8 and 0.5 < rate.low <= rate.high <= 1.0 and rate.reason == ""
        assert max(batch_size.high, momentum.high) < rate.low

    def test_many_trials_give_what_a_random_part_of_them_gives(self) -> None:
        many = importance(*drawn(1000), RANGES)
        few = importance(*drawn(200, seed=1), RANGES)
        assert many[0].share == pytest.approx(few[0].share, abs=0.1)  # both near 0.95

    @pytest.mark.parametrize(
        ("n", "columns", "scale", "reason"),
        [
            (19, 3, 1.0, "19 trials have a score, and importance needs 20"),
            (30, 1, 1.0, "it is the only hyperparameter that was searched"),
            (30, 3, 0.0, "all trials have the same score"),
        ],
    )
    def test_too_little_to_tell_has_a_reason(self, n: int, columns: int, scale: float, reason: str) -> None:
        values, objectives = drawn(n)
        found = importance(values[list(values)[:columns]], scale * objectives, RANGES)
        assert len(found) == columns
        assert all(math.isnan(one.share) and one.reason == reason for one in found)


class TestTable:
    @pytest.mark.parametrize("sign", [1, -1])
    def test_rows_of_an_arm(self, sign: int) -> None:
        values, objectives = drawn(40)
        scores = frame(values, sign * objectives, sign=sign)
        stopped = frame(values[:5], np.zeros(5)).assign(score=np.nan, status="stopped")
        found = importances(Told(tuning_scores=pd.concat([scores, stopped]), **{SPACES: spaces_of("adam", **RANGES)}))
        assert found["parameter"].tolist() == ["batch_size", "learning_rate", "momentum"]
        assert found["n"].tolist() == [40] * 3
        expected = {one.parameter: one.share for one in importance(values, objectives, RANGES)}
        assert dict(zip(found["parameter"], found["importance"], strict=True)) == pytest.approx(expected, abs=EXACT)

    @pytest.mark.parametrize("deciding", ["optimizer", "relative_learning_rate"])
    def test_over_all_optimizers_of_a_board(self, deciding: str) -> None:
        frames = []
        for number, optimizer in enumerate(("adam", "sgd", "lion")):
            values, objectives = drawn(40, seed=number)
            if deciding == "optimizer":
                objectives = 0.3 * number + 0.1 * np.random.default_rng(100 + number).random(40)
            # Rates are near 1e-3 times the default of each optimizer: as ratios they are the same.
            rates = values["learning_rate"] * 10.0**number
            said: dict[str, Any] = {"optimizer": optimizer, "default_learning_rate": 10.0**number}
            frames.append(frame(values.assign(learning_rate=rates), objectives, **said))
        frames.append(frame(*drawn(40, seed=9), optimizer="muon", default_learning_rate=np.nan))
        found = board_importances(Told(tuning_scores=pd.concat(frames))).set_index("parameter")
        assert found["n"].tolist() == [120] * 3 and found["importance"].sum() == pytest.approx(1.0, abs=EXACT)
        assert found["importance"].idxmax() == deciding
        assert found.loc[deciding, "ci_low"] > found["importance"].drop(deciding).max()

    def test_default_outside_its_range_and_a_fixed_value(self) -> None:
        values, objectives = drawn(40)
        values.loc[0, "learning_rate"] = 1.0
        fixed = {**RANGES, "momentum": {"low": 0.9, "high": 0.9}}
        found = importances(Told(tuning_scores=frame(values, objectives), **{SPACES: spaces_of("adam", **fixed)}))
        assert found["parameter"].tolist() == ["batch_size", "learning_rate"]

    def test_nothing_scored_makes_an_empty_table(self) -> None:
        found = importances(Told(tuning_scores=tuning([None]), **{SPACES: spaces_of("adam", **RANGES)}))
        assert not len(found) and "importance" in found
