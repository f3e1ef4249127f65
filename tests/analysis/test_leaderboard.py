import statistics
from pathlib import Path

import pandas as pd
import pytest
from scipy import stats

import analysis
from analysis.stats import standings
from tests.helpers.records import SmallStudy

COLUMNS = (
    "study_id mode workload method weight_bits activation_bits place optimizer mean ci_low ci_high n diverged "
    "collapsed learning_rate batch_size metric unit trivial bicubic nearest"
)
EXACT = 1e-12  # two double-precision sums of a few numbers near 1


def board(results: Path, *index: str) -> pd.DataFrame:
    return analysis.frame(results, "leaderboard").set_index(list(index) or ["optimizer"])


def interval(scores: list[float]) -> tuple[float, float]:
    """The 95 % t-interval of fractions by another way than the query's."""
    found = stats.ttest_1samp(scores, 0.0).confidence_interval(0.95)
    return max(0.0, float(found.low)), min(1.0, float(found.high))


def test_columns_are_in_their_order(tmp_path: Path) -> None:
    SmallStudy(tmp_path, "s").arm("adam")
    assert list(analysis.frame(tmp_path, "leaderboard")) == COLUMNS.split()


def test_mean_interval_and_place_over_three_seeds(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path, "s")
    scores = {"adam": [0.81, 0.84, 0.78], "sgd": [0.9, 0.85, 0.92], "lion": [0.6, 0.7, 0.65]}
    for optimizer, values in scores.items():
        study.retrain(study.arm(optimizer), *values)
    found = board(tmp_path)
    assert found["place"].to_dict() == {"sgd": 1, "adam": 2, "lion": 3}
    for optimizer, values in scores.items():
        row = found.loc[optimizer]
        assert row["mean"] == pytest.approx(statistics.mean(values), abs=EXACT)
        # stdtrit and t.ppf agree to about 1e-13
        assert (row["ci_low"], row["ci_high"]) == pytest.approx(interval(values), abs=1e-10)
        assert (row["n"], row["diverged"], row["learning_rate"], row["batch_size"]) == (3, 0, 1e-3, 32)


@pytest.mark.parametrize(("unit", "most"), [("fraction", 1.0), ("percent", 100.0)])
def test_an_interval_ends_where_the_metric_does(tmp_path: Path, unit: str, most: float) -> None:
    scores = [0.99 * most, 0.98 * most, 0.1 * most]
    for name, optimizer, of in (("bounded", "adam", unit), ("not", "sgd", "dB")):
        study = SmallStudy(tmp_path, name)
        study.retrain(study.arm(optimizer, unit=of), *scores)
    found = board(tmp_path)
    low, high = stats.ttest_1samp(scores, 0.0).confidence_interval(0.95)
    assert low < 0 and high > most
    assert found.loc["adam", ["ci_low", "ci_high"]].tolist() == [0, most]
    # stdtrit and t.ppf agree to about 1e-13
    assert found.loc["sgd", ["ci_low", "ci_high"]].tolist() == pytest.approx([low, high], rel=1e-10)
    table = standings(tmp_path).set_index("optimizer")[["ci_low", "ci_high"]]
    assert table.loc["adam"].tolist() == [0, most]
    assert table.loc["sgd"].tolist() == pytest.approx([low, high], rel=1e-10)


@pytest.mark.parametrize("status", ["diverged", "oom", "error"])
def test_trial_that_diverged_or_failed_counts_as_the_trivial_test_score(tmp_path: Path, status: str) -> None:
    study = SmallStudy(tmp_path, "s")
    arm = study.arm("adam", trivial_score=0.1, trivial_test_score=0.4)
    study.retrain(arm, 0.8, 0.9)
    study.trial(arm, "retrain", status, test_metric=None)
    row = board(tmp_path).loc["adam"]
    assert row["mean"] == pytest.approx((0.8 + 0.9 + 0.4) / 3, abs=EXACT)
    assert pd.isna(row["ci_low"]) and pd.isna(row["ci_high"]), "no t interval over two humps"
    assert (row["n"], row["diverged"], row["trivial"]) == (3, 1, 0.4)


def test_arm_whose_trials_all_failed_keeps_its_interval(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path, "s")
    study.retrain(study.arm("adam"), None, None, None)
    row = board(tmp_path).loc["adam"]
    assert row[["mean", "ci_low", "ci_high"]].tolist() == pytest.approx([0.4] * 3, abs=EXACT)
    assert row[["n", "diverged"]].tolist() == [3, 3]


def test_repeat_is_one_value_the_mean_over_its_seeds(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path, "s")
    repeats = ([0.8, 0.9], [0.7, 0.72, 0.74], [0.6])
    for number, scores in enumerate(repeats):
        study.retrain(study.arm("adam", arm_id=f"adam-{number}", repeat=number), *scores)
    row = board(tmp_path).loc["adam"]
    means = [statistics.mean(scores) for scores in repeats]
    assert (row["mean"], row["n"]) == (pytest.approx(statistics.mean(means), abs=EXACT), 3)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(interval(means), abs=1e-10)


def test_methods_at_the_same_bits_are_boards_of_their_own(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path, "s")
    study.retrain(study.arm("adam", method="config_3", arm_id="adam-config_3-w4a4"), 0.5, 0.7)
    study.retrain(study.arm("adam", method="config_4", arm_id="adam-config_4-w4a4"), 0.8, 0.9)
    found = board(tmp_path, "method")
    assert found["mean"].to_dict() == pytest.approx({"config_3": 0.6, "config_4": 0.85}, abs=EXACT)
    assert found["place"].to_dict() == {"config_3": 1, "config_4": 1}


def test_trials_of_another_recipe_do_not_count(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path, "s")
    arm = study.arm("adam", recipe_hashes_json='["aa", "bb"]')
    study.retrain(arm, 0.5, 0.7, recipe_hash="bb")
    study.retrain(arm, 0.0, recipe_hash="cc")
    study.retrain(arm, 0.6, recipe_hash=None)  # of an earlier version, which wrote none
    assert (board(tmp_path).loc["adam", "n"], board(tmp_path).loc["adam", "mean"]) == (3, pytest.approx(0.6, abs=EXACT))


def test_test_metric_that_is_not_known_counts_as_diverged(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path, "s")
    arm = study.arm("adam")
    study.trial(arm, "retrain", test_metric=None)
    assert board(tmp_path).loc["adam", ["mean", "n", "diverged"]].tolist() == [0.4, 1, 1]


def test_one_trial_has_no_interval(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path, "s")
    study.retrain(study.arm("adam"), 0.8)
    row = board(tmp_path).loc["adam"]
    assert row["mean"] == 0.8
    assert pd.isna(row["ci_low"]) and pd.isna(row["ci_high"])


def test_only_ended_retrain_trials_of_the_study_as_it_is_count(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path, "s")
    arm = study.arm("adam")
    study.retrain(arm, 0.8, 0.9)
    study.retrain(arm, 0.1, config_id="an earlier best")
    study.retrain(arm, 0.1, epochs=2)
    study.retrain(arm, 0.1, init_checkpoint_sha256="an earlier start")
    study.retrain(arm, 0.1, init_checkpoint_sha256=None)
    study.retrain(arm, 0.1, ste="round_then_clip")
    study.retrain(arm, 0.1, first_last_bits=4)
    study.retrain(arm, 0.1, data_fingerprint="other data")
    study.retrain(arm, 0.1, split_fingerprint="another split")
    study.retrain(arm, 0.1, quantizer="another")
    study.trial(arm, "retrain", "running")
    study.trial(arm, "retrain", "interrupted")
    study.trial(arm, "retrain", "stopped", stop_reason="user")
    study.trial(arm, "search", val_metric=0.1, test_metric=0.1, config_id="best")
    assert board(tmp_path).loc["adam", ["mean", "n"]].tolist() == pytest.approx([0.85, 2], abs=EXACT)


def test_arm_without_retrain_trials_is_absent(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path, "s")
    study.retrain(study.arm("adam"), 0.8)
    study.trial(study.arm("sgd"), "search", val_metric=0.9)
    assert list(board(tmp_path).index) == ["adam"]


def test_arm_in_which_nothing_was_completed_stands_last_with_no_trials(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path, "s")
    study.retrain(study.arm("adam"), 0.8, 0.6)
    lost = study.arm("sgd", best_config_id=None)
    for stage in ("default", "random", "random", *["search"] * 5):
        study.trial(lost, stage, "diverged")
    assert list(board(tmp_path).index) == ["adam"], "one search trial is still to come"
    study.trial(lost, "search", "oom")
    row = board(tmp_path).loc["sgd"]
    assert row["n"] == 0 and row[["place", "mean", "ci_low"]].isna().all()
    assert list(board(tmp_path).index) == ["adam", "sgd"]


def test_first_run_of_a_study_shows_what_has_ended(tmp_path: Path) -> None:
    # The arms are written at the start of a run, before their common start and their choice are known.
    study = SmallStudy(tmp_path, "s")
    study.retrain(study.arm("adam", best_config_id=None, init_checkpoint_sha256=None), 0.8, 0.6)
    assert board(tmp_path).loc["adam", "mean"] == pytest.approx(0.7, abs=EXACT)


def test_smallest_is_first_where_the_metric_is_minimised(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path, "s", sign=-1)
    for optimizer, score in {"adam": 0.3, "sgd": 0.2, "lion": 0.35}.items():
        study.retrain(study.arm(optimizer), score, score)
    study.retrain(study.arm("adadelta"), None, 0.3)
    found = board(tmp_path)
    assert found["place"].to_dict() == {"sgd": 1, "adam": 2, "lion": 3, "adadelta": 3}
    assert found["mean"].to_dict() == pytest.approx({"sgd": 0.2, "adam": 0.3, "lion": 0.35, "adadelta": 0.35})


def test_places_are_within_study_and_bits(tmp_path: Path) -> None:
    for name in ("2026", "other"):
        study = SmallStudy(tmp_path, name)
        for bits in (4, 32):
            study.retrain(study.arm("adam", bits), 0.8 if name == "2026" else 0.6, 0.8)
            study.retrain(study.arm("sgd", bits), 0.7, 0.9 if bits == 4 else 0.5)
    found = board(tmp_path, "study_id", "weight_bits", "activation_bits", "optimizer")
    assert found["place"].to_dict() == {
        ("2026", 32, 32, "adam"): 1,
        ("2026", 32, 32, "sgd"): 2,
        ("2026", 4, 4, "adam"): 1,
        ("2026", 4, 4, "sgd"): 1,  # 0.8 and 0.8: a tie shares its place
        ("other", 32, 32, "adam"): 1,
        ("other", 32, 32, "sgd"): 2,
        ("other", 4, 4, "adam"): 2,
        ("other", 4, 4, "sgd"): 1,
    }


def test_repeats_are_pooled(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path, "s")
    study.retrain(study.arm("adam"), 0.8, 0.9)
    second = study.arm("adam", arm_id="adam-w4a4-r2", repeat=1, best_config_id="second")
    study.retrain(second, 0.7, 0.6, config_id="second", learning_rate=1e-2)
    row = board(tmp_path).loc["adam"]
    assert (row["mean"], row["n"]) == pytest.approx((0.75, 4), abs=EXACT)
    assert (row["ci_low"], row["ci_high"]) == pytest.approx(interval([0.8, 0.9, 0.7, 0.6]), abs=1e-10)
    # The two chose another learning rate and the same batch size.
    assert pd.isna(row["learning_rate"]) and row["batch_size"] == 32


def test_joint_mode_shows_the_configuration_that_was_found(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path, "s", mode="joint")
    for bits, optimizer in ((4, "sgd"), (32, "adam")):
        study.retrain(study.arm(None, bits), 0.8, 0.9, optimizer=optimizer, learning_rate=0.25)
    found = board(tmp_path, "weight_bits")
    assert found["optimizer"].to_dict() == {32: "adam", 4: "sgd"}
    assert set(found["mode"]) == {"joint"} and found["place"].isna().all() and set(found["learning_rate"]) == {0.25}


def test_baselines_are_those_of_the_test_split(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path, "s")
    baselines = '{"val": {"bicubic": 1.0, "nearest": 2.0}, "test": {"bicubic": 30.5, "nearest": 28.25}}'
    study.retrain(study.arm("adam", baselines_json=baselines), 31.0)
    study.retrain(study.arm("sgd", baselines_json='{"val": {}, "test": {}}'), 0.5)
    found = board(tmp_path)
    assert found.loc["adam", ["bicubic", "nearest"]].tolist() == [30.5, 28.25]
    assert found.loc["sgd", ["bicubic", "nearest"]].isna().all()
