"""Tables of tuning and of aggregates, asked of a record: what they stand on, and what a poor record does to them."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import stats
from analysis.answers import Answers
from analysis.stats.boards import ARM
from analysis.stats.importance import SPACES
from tests.analysis.stats.told import Told, retrain, spaces_of, tuning
from tests.helpers.records import SPACE, SmallStudy
from tests.helpers.rows import filled, write

pytestmark = pytest.mark.slow  # a whole record, which takes seconds to make

EXACT = 1e-12  # a few double-precision operations on numbers near 1
TABLES: dict[str, Callable[..., pd.DataFrame]] = {
    name: getattr(stats, name)
    for name in (
        "board_importances",
        "critical_batch_size",
        "gain_from_tuning",
        "importances",
        "interquartile_means",
        "learning_rate_envelope",
        "learning_rate_sensitivity",
        "mean_ranks",
        "probabilities_of_improvement",
        "probability_of_best",
        "rank_comparisons",
        "rate_scaling",
        "time_to_target_scores",
        "tunability",
        "tuning_curves",
    )
}


def tuned_study(results: Path, name: str, sign: int) -> None:
    """Two optimizers at two bit widths: a default, 24 random trials, one stopped by ASHA, 3 seeds.

    A sixth of the random trials and one of the seeds diverged; trials end at epochs 1 and 4.
    """
    study = SmallStudy(results, name, sign=sign)
    generator = np.random.default_rng(0)

    def at(value: float) -> float:
        return value if sign > 0 else 1 - value

    for bits in (32, 4):
        for optimizer in ("adam", "sgd"):
            quantizer = "lsq" if bits < 32 else "none"
            arm = study.arm(optimizer, bits, quantizer=quantizer, n_train=10_000, margin=0.01)
            key = study.trial(arm, "default", val_metric=at(0.6), learning_rate=1e-3)
            study.last_epoch(key, val_metric=at(0.6), step=400)
            for i in range(24):
                rate = float(10 ** generator.uniform(-4, -1))
                value = at(0.8 - 0.1 * (np.log10(rate) + 2.5) ** 2)
                size = (8, 16, 32, 64)[i % 4]
                if i % 6 == 5:
                    study.trial(arm, "random", "diverged", learning_rate=rate, batch_size=size, epochs_run=1)
                else:
                    study.trial(arm, "random", val_metric=value, learning_rate=rate, batch_size=size)
            study.trial(arm, "search", "stopped", val_metric=at(0.9), learning_rate=1e-2, epochs_run=1)
            study.retrain(arm, at(0.8), None, at(0.75), val_metric=at(0.8))


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    results = tmp_path_factory.mktemp("record")
    tuned_study(results, "larger", 1)
    tuned_study(results, "smaller", -1)
    return Answers(results)


@pytest.fixture(scope="module")
def tables(record: Answers) -> dict[str, pd.DataFrame]:
    return {name: table(record) for name, table in TABLES.items()}


@pytest.mark.parametrize("name", TABLES)
def test_every_table_has_rows_of_a_tuned_study(tables: dict[str, pd.DataFrame], name: str) -> None:
    found = tables[name]
    assert len(found) or name == "rank_comparisons"  # two blocks have no test
    assert not {"study_id"} & set(found) or set(found["study_id"]) == {"larger", "smaller"}


@pytest.mark.parametrize("name", ["tuning_curves", "learning_rate_sensitivity", "tunability", "gain_from_tuning"])
def test_minimised_metric_is_the_mirror_of_the_maximised_one(tables: dict[str, pd.DataFrame], name: str) -> None:
    # `at` turns a score into 1 - score; the trivial scores of 0.5 are their own mirror.
    found = tables[name]
    one, other = (found[found["study_id"] == name].reset_index(drop=True) for name in ("larger", "smaller"))
    mirrored = {"ci_low": "ci_high", "ci_high": "ci_low"}
    scores = {"expected_best", "median_best", "ci_low", "ci_high", "early", "mean", "peak", "best"}
    scores |= {"default", "tuned", "retrained"}
    for column in one.columns.difference(["study_id", "metric"]):
        expected = 1 - one[column] if column in scores else one[column]
        pd.testing.assert_series_equal(
            other[mirrored.get(column, column)], expected, check_names=False, rtol=1e-9, atol=1e-9
        )


def test_expected_best_is_that_of_the_question_in_sql(record: Answers, tables: dict[str, pd.DataFrame]) -> None:
    same = [*ARM, "k"]
    both = tables["tuning_curves"].merge(record.frame("expected_best"), on=same, suffixes=("", "_sql"))
    assert len(both) == 2 * 4 * 24
    assert both["expected_best"].to_numpy() == pytest.approx(both["expected_best_sql"].to_numpy(), abs=EXACT)


def test_importance_reads_the_ranges_of_the_arm(tables: dict[str, pd.DataFrame]) -> None:
    found = tables["importances"]
    assert set(found["parameter"]) == {"learning_rate", "batch_size"}
    assert found["n"].unique().tolist() == [25]  # a default and 24 random trials, diverged ones among them
    assert found.groupby(ARM)["importance"].sum().tolist() == pytest.approx([1.0] * 8, abs=EXACT)


def nothing(results: Path) -> None:
    write(results, "s", "studies", "study", filled("studies"))


def no_trial(results: Path) -> None:
    SmallStudy(results, "s").arm("adam")


def one_diverged_trial(results: Path) -> None:
    study = SmallStudy(results, "s")
    study.trial(study.arm("adam"), "random", "diverged", epochs_run=1)


def only_diverged(results: Path) -> None:
    study = SmallStudy(results, "s")
    for bits in (32, 4):
        for optimizer in ("adam", "sgd"):
            arm = study.arm(optimizer, bits)
            for stage in ("default", *["random"] * 24, "search"):
                study.trial(arm, stage, "diverged", learning_rate=1e-3, epochs_run=1)
            study.retrain(arm, None, None, None)


def running(results: Path) -> None:
    study = SmallStudy(results, "s")
    study.trial(study.arm("adam"), "random", "running", epochs_run=None)


def joint(results: Path) -> None:
    study = SmallStudy(results, "s", mode="joint")
    arm = study.arm(None, space_json=json.dumps(SPACE))
    for i in range(24):
        study.trial(arm, "search", val_metric=0.5 + i / 100, optimizer="adam", learning_rate=10 ** (-4 + i / 8))


@pytest.mark.parametrize("poor", [nothing, no_trial, one_diverged_trial, only_diverged, running, joint])
def test_poor_record_makes_tables_with_their_columns_and_no_interval(
    tmp_path: Path, tables: dict[str, pd.DataFrame], poor: Callable[[Path], None]
) -> None:
    poor(tmp_path)
    asked = Answers(tmp_path)
    for name, table in TABLES.items():
        found = table(asked)
        assert list(found) == list(tables[name]), name
        # Twenty-four trials have a band, whatever they reached, and their importance a spread.
        if "ci_low" in found and name not in ("tuning_curves", "importances", "board_importances"):
            assert found["ci_low"].isna().all(), name


def test_imported_study_whose_trivial_score_and_unit_are_unknown() -> None:
    scores = tuning(
        [0.7, 0.6, None], mode="joint", trivial=np.nan, unit="unknown", margin=np.nan, default_learning_rate=np.nan
    )
    asked = Told(tuning_scores=scores, retrain_scores=retrain([]), **{SPACES: spaces_of("adam")})
    assert stats.learning_rate_sensitivity(asked)["basin_width"].isna().all()
    assert stats.rate_scaling(asked)["exponent"].isna().all()
    assert stats.importances(asked)["importance"].isna().all()
    assert not len(stats.tuning_curves(asked)) and not len(stats.gain_from_tuning(asked))
