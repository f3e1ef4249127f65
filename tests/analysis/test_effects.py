import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import analysis
from tests.helpers.records import BOARD, SmallStudy, rows
from tests.helpers.rows import filled, write

EXACT = 1e-12  # a few double-precision operations on numbers near 1
INTERVAL = 1e-10  # two implementations of Student's quantile, each good to about 1e-13
TRIVIAL = 0.4
SCORES: dict[tuple[str, int], dict[int, float | None]] = {
    # By seed; None diverged. The order of the seeds differs, and lion has only two of them at both bit widths.
    ("adam", 32): {1: 0.90, 2: 0.92, 3: 0.91},
    ("adam", 4): {3: 0.86, 1: 0.88, 2: 0.90},
    ("lion", 32): {1: 0.94, 2: 0.95},
    ("lion", 4): {1: 0.85, 2: 0.81, 3: 0.10},
    ("sgd", 32): {2: 0.93, 3: 0.89, 1: 0.91},
    ("sgd", 4): {1: 0.80, 2: None, 3: 0.85},
}


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean and 95 % t-interval by another way than the query's."""
    found = stats.ttest_1samp(values, 0).confidence_interval(0.95)
    return statistics.mean(values), float(found.low), float(found.high)


def write_scores(study: SmallStudy, scores: dict[tuple[str, int], dict[int, float | None]] = SCORES) -> None:
    sign = study.sign
    for (optimizer, bits), by_seed in scores.items():
        trivial: dict[str, Any] = {"trivial_test_score": sign * TRIVIAL}
        arm = study.arm(optimizer, bits, quantizer="lsq" if bits < 32 else "none", margin=0.01, **trivial)
        for seed, score in by_seed.items():
            status = "diverged" if score is None else "completed"
            study.trial(arm, "retrain", status, seed=seed, test_metric=None if score is None else sign * score)


def losses(optimizer: str) -> dict[int, float]:
    """What quantization costs, by seed."""
    control, quantized = SCORES[optimizer, 32], SCORES[optimizer, 4]
    both = sorted(set(control) & set(quantized))
    return {seed: (control[seed] or TRIVIAL) - (quantized[seed] or TRIVIAL) for seed in both}


class TestQuantizationEffect:
    @pytest.mark.parametrize("sign", [1, -1])
    def test_losses_and_gains_are_paired_by_seed(self, tmp_path: Path, sign: int) -> None:
        write_scores(SmallStudy(tmp_path, "s", sign=sign))
        found = analysis.frame(tmp_path, "quantization_effect").set_index("optimizer")
        assert set(found["reference"]) == {"the median of the board"}
        for optimizer in ("adam", "lion", "sgd"):
            row, lost = found.loc[optimizer], losses(optimizer)
            assert row["n"] == len(lost)
            mean, low, high = interval(list(lost.values()))
            assert row["loss"] == pytest.approx(mean, abs=INTERVAL)
            if optimizer == "sgd":  # of its three trials at 4 bits one diverged
                assert pd.isna(row["ci_low"]) and pd.isna(row["gain_ci_low"])
            else:
                assert (row["ci_low"], row["ci_high"]) == pytest.approx((low, high), abs=INTERVAL)
            control = [SCORES[optimizer, 32][seed] or TRIVIAL for seed in lost]
            quantized = [SCORES[optimizer, 4][seed] or TRIVIAL for seed in lost]
            assert (row["control"], row["mean"]) == pytest.approx(
                (sign * statistics.mean(control), sign * statistics.mean(quantized)), abs=EXACT
            )
        for optimizer in ("adam", "lion"):
            row, own = found.loc[optimizer], losses(optimizer)
            # Over the two seeds that all three have.
            gains = [
                statistics.median(losses(name)[seed] for name in ("adam", "lion", "sgd")) - own[seed] for seed in (1, 2)
            ]
            assert row["n_gain"] == len(gains)
            assert (row["gain"], row["gain_ci_low"], row["gain_ci_high"]) == pytest.approx(
                interval(gains), abs=INTERVAL
            )
        # Means: 0.945, 0.91, 0.91 in floating point; 0.83, 0.88, 0.683 at 4 bits.
        assert found["place"].to_dict() == {"lion": 2, "adam": 1, "sgd": 3}
        assert found.loc["lion", "place_control"] == 1
        assert found["n_gain"].tolist() == [2, 2, 2]
        assert (found.loc["sgd", "margin"], found.loc["sgd", "unit"]) == (0.01, "fraction")

    def test_of_two_optimizers_each_is_beside_the_other_and_one_pair_has_no_interval(self, tmp_path: Path) -> None:
        write_scores(
            SmallStudy(tmp_path, "s"),
            {("lion", 32): {1: 0.9}, ("lion", 4): {1: 0.8}, ("adam", 32): {1: 0.9}, ("adam", 4): {1: 0.7}},
        )
        found = analysis.frame(tmp_path, "quantization_effect")
        assert rows(found, *BOARD, "optimizer", "reference") == [
            ["s", "comparison", "m-d", "lsq", 4, 4, "lion", "the other optimizer"],
            ["s", "comparison", "m-d", "lsq", 4, 4, "adam", "the other optimizer"],
        ]
        assert found["gain"].tolist() == pytest.approx([0.1, -0.1], abs=EXACT)
        assert found[["ci_low", "ci_high", "gain_ci_low", "gain_ci_high"]].isna().all(axis=None)

    def test_studies_methods_and_repeats_are_not_mixed_up(self, tmp_path: Path) -> None:
        for name, shift in (("one", 0.0), ("two", 0.1)):
            study = SmallStudy(tmp_path, name)
            for method, bits, score in (("none", 32, 0.9), ("a", 4, 0.8), ("b", 4, 0.7)):
                for optimizer, better in (("adam", 0.05), ("sgd", 0.0)):
                    for repeat in (0, 1):
                        arm_id = f"{optimizer}-{method}-{repeat}"
                        arm = study.arm(optimizer, bits, method=method, repeat=repeat, arm_id=arm_id)
                        more = (shift + (better if method == "b" else 0)) * (bits == 4) + 0.01 * repeat
                        study.trial(arm, "retrain", seed=1, test_metric=score + more)
        found = analysis.frame(tmp_path, "quantization_effect").sort_values(["study_id", "method", "optimizer"])
        assert found["n"].tolist() == [2] * 8 and found["n_gain"].tolist() == [2] * 8
        assert found["loss"].tolist() == pytest.approx([0.1, 0.1, 0.15, 0.2, 0.0, 0.0, 0.05, 0.1], abs=EXACT)
        # Beside the other one with the same method.
        assert found["gain"].tolist() == pytest.approx([0.0, 0.0, 0.05, -0.05] * 2, abs=EXACT)

    def test_reference_of_the_study_file_is_that_of_all_gains(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        write_scores(study)
        write(
            tmp_path, "s", "studies", "study", filled("studies", definition_json='{"judgement": {"reference": "lion"}}')
        )
        found = analysis.frame(tmp_path, "quantization_effect").set_index("optimizer")
        gains = [losses("lion")[seed] - losses("adam")[seed] for seed in (1, 2)]
        row = found.loc["adam"]
        assert (row["reference"], row["n_gain"]) == ("lion", 2)
        assert (row["gain"], row["gain_ci_low"], row["gain_ci_high"]) == pytest.approx(interval(gains), abs=INTERVAL)
        assert pd.isna(found.loc["lion", "gain"])

    def test_one_that_is_badly_tuned_moves_no_other_gain(self, tmp_path: Path) -> None:
        for name, worst in (("tuned", 0.82), ("badly", 0.1)):
            write_scores(
                SmallStudy(tmp_path, name),
                {(name, bits): {1: at} for name, four in (("adam", 0.88), ("lion", 0.85), ("sgd", worst))
                 for bits, at in ((32, 0.9), (4, four))},
            )  # fmt: skip
        found = analysis.frame(tmp_path, "quantization_effect").set_index(["study_id", "optimizer"])["gain"]
        tables = [found[name][["adam", "lion"]].tolist() for name in ("tuned", "badly")]
        assert tables[0] == pytest.approx(tables[1], abs=EXACT)

    def test_no_control_and_joint_mode_have_no_row(self, tmp_path: Path) -> None:
        write_scores(SmallStudy(tmp_path, "s"), {("adam", 4): {1: 0.8}, ("sgd", 32): {1: 0.9}})
        write_scores(SmallStudy(tmp_path, "joint", mode="joint"))
        assert not len(analysis.frame(tmp_path, "quantization_effect"))


class TestGeneralizationGap:
    @pytest.mark.parametrize("sign", [1, -1])
    def test_gap_and_its_change_against_the_control(self, tmp_path: Path, sign: int) -> None:
        study = SmallStudy(tmp_path, "s", sign=sign)
        train = {32: [0.99, 0.98, 0.97], 4: [0.93, 0.95, 0.90]}
        test = {32: [0.90, 0.91, 0.92], 4: [0.89, 0.90, 0.91]}
        for bits in (32, 4):
            arm = study.arm("adam", bits)
            for seed, (on_train, on_test) in enumerate(zip(train[bits], test[bits], strict=True)):
                key = study.trial(arm, "retrain", seed=seed, test_metric=sign * on_test)
                study.curve(key, *[0.5] * 4, train_metric=[0.1, 0.2, 0.3, sign * on_train])
            key = study.trial(arm, "retrain", "diverged", seed=9, epochs_run=1)
            study.curve(key, None, train_metric=[0.3])
            study.curve(study.trial(arm, "search", val_metric=0.9), *[0.5] * 4, train_metric=[0.1] * 4)
        gaps = {bits: [a - b for a, b in zip(train[bits], test[bits], strict=True)] for bits in (32, 4)}
        found = analysis.frame(tmp_path, "generalization_gap").set_index("weight_bits")
        for bits in (32, 4):
            row = found.loc[bits]
            assert (row["n"], row["failed"]) == (3, 1)
            assert (row["gap"], row["ci_low"], row["ci_high"]) == pytest.approx(interval(gaps[bits]), abs=INTERVAL)
            assert row["train_metric"] == pytest.approx(sign * statistics.mean(train[bits]), abs=EXACT)
            assert row["test_metric"] == pytest.approx(sign * statistics.mean(test[bits]), abs=EXACT)
        changes = [after - before for before, after in zip(gaps[32], gaps[4], strict=True)]
        row = found.loc[4]
        assert row["n_pairs"] == 3
        assert (row["change"], row["change_ci_low"], row["change_ci_high"]) == pytest.approx(
            interval(changes), abs=INTERVAL
        )
        assert found.loc[32, "n_pairs"] == 0 and pd.isna(found.loc[32, "change"])

    def test_only_failures_and_one_seed_have_no_interval(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        study.retrain(study.arm("adam"), None, None)
        key = study.trial(study.arm("sgd"), "retrain", test_metric=0.75)
        study.curve(key, *[0.5] * 4, train_metric=[0.875] * 4)
        found = analysis.frame(tmp_path, "generalization_gap")
        assert rows(found, "optimizer", "n", "failed", "gap", "ci_low") == [
            ["adam", 0, 2, None, None], ["sgd", 1, 0, 0.125, None]
        ]  # fmt: skip


class TestTimeToTarget:
    @pytest.mark.parametrize("sign", [1, -1])
    def test_median_seconds_ratio_and_algoperf_score(self, tmp_path: Path, sign: int) -> None:
        study = SmallStudy(tmp_path, "s", sign=sign)
        # Target: the median of 0.8, 0.7 and, as lion's default diverged, the trivial 0.5.
        defaults: dict[str, float | None] = {"adam": 0.8, "lion": None, "sgd": 0.7}
        times: dict[str, list[list[float]]] = {
            # Metrics after each epoch; seconds are 1.5 an epoch, twice that for sgd.
            "adam": [[0.6, 0.72, 0.71, 0.9], [0.7, 0.69, 0.69, 0.69], [0.6, 0.6, 0.71, 0.8]],
            "sgd": [[0.6, 0.75, 0.8, 0.8], [0.6, 0.6, 0.7, 0.8], [0.6, 0.6, 0.6, 0.69]],
            "lion": [[0.6, 0.6, 0.6, 0.9], [0.6, 0.6, 0.6, 0.6]],
        }
        for optimizer, default in defaults.items():
            trivial: dict[str, Any] = {"trivial_score": sign * 0.5}
            arm = study.arm(optimizer, **trivial)
            status = "diverged" if default is None else "completed"
            study.trial(arm, "default", status, val_metric=None if default is None else sign * default)
            per_epoch = 3.0 if optimizer == "sgd" else 1.5
            for seed, curve in enumerate(times[optimizer]):
                key = study.trial(arm, "retrain", seed=seed, test_metric=sign * 0.8)
                seconds = [per_epoch * epoch for epoch in (1, 2, 3, 4)]
                study.curve(key, *(sign * value for value in curve), device_s=seconds)
        study.trial("lion-w4a4", "retrain", "diverged", seed=7, epochs_run=0)
        found = analysis.frame(tmp_path, "time_to_target")
        # adam after 2, 1 and 3 epochs; sgd after 2, 3 and never; lion once in three.
        assert rows(found, "optimizer", "n", "reached", "device_s") == [
            ["adam", 3, 3, 3.0], ["sgd", 3, 2, 9.0], ["lion", 3, 1, float("inf")]
        ]  # fmt: skip
        assert found["target"].tolist() == pytest.approx([sign * 0.7] * 3, abs=EXACT)
        assert found["ratio"].tolist() == [1.0, 3.0, float("inf")]
        assert found["score"].tolist() == pytest.approx([1, 1 / 3, 0], abs=EXACT)
        # The profile integrated over ratios: of 100,001 points, each a step of at most 1e-5 wide.
        points = np.linspace(1, 4, 100_001)
        profile = [(points >= ratio).mean() for ratio in found["ratio"]]
        assert found["score"].tolist() == pytest.approx(profile, abs=2e-5)

    def test_half_of_an_even_number_is_no_median_and_beyond_four_times_scores_nothing(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        hits_of = {"adam": [1, 1], "sgd": [1, 0], "lion": [5, 5], "rmsprop": [2, 4]}
        for optimizer, hits in hits_of.items():
            arm = study.arm(optimizer)
            study.trial(arm, "default", val_metric=0.7)
            for hit in hits:
                key = study.trial(arm, "retrain", test_metric=0.8)
                study.curve(key, *[0.7 if hit else 0.6] * 4, device_s=[(hit or 1) * n for n in (1.0, 2.0, 3.0, 4.0)])
        found = analysis.frame(tmp_path, "time_to_target")
        inf = float("inf")
        assert rows(found, "optimizer", "device_s", "ratio", "score") == [
            ["adam", 1.0, 1.0, 1.0], ["rmsprop", 3.0, 3.0, pytest.approx(1 / 3, abs=EXACT)],
            ["lion", 5.0, 5.0, 0.0], ["sgd", inf, inf, 0.0],
        ]  # fmt: skip

    def test_without_default_trials_or_in_joint_mode_there_is_no_answer(self, tmp_path: Path) -> None:
        for name, mode, stage in (("none", "comparison", "random"), ("joint", "joint", "default")):
            study = SmallStudy(tmp_path, name, mode=mode)
            arm = study.arm("adam")
            study.whole_trial(arm, stage)
            study.whole_trial(arm, "retrain", test_metric=0.8)
        assert not len(analysis.frame(tmp_path, "time_to_target"))

    def test_nobody_gets_there(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        arm = study.arm("adam")
        study.trial(arm, "default", val_metric=0.9)
        study.whole_trial(arm, "retrain", test_metric=0.8)
        found = analysis.frame(tmp_path, "time_to_target")
        assert rows(found, "reached", "device_s", "ratio", "score") == [[0, float("inf"), float("inf"), 0.0]]
