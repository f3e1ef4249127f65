import math
import statistics
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from scipy import stats

import analysis
from tests.helpers.records import SmallStudy

EXACT = 1e-12  # a few double-precision operations on numbers near 1


class TestLearningRate:
    @pytest.mark.parametrize("sign", [1, -1])
    def test_best_and_median_of_a_quarter_decade(self, tmp_path: Path, sign: int) -> None:
        study = SmallStudy(tmp_path, "s", sign=sign)
        arm = study.arm("adam", trivial_score=0.5)
        # 1e-3 and 1.15e-3 lie in one quarter decade, 1.5e-3 in the next: its middle is 10 ** -2.75.
        study.trial(arm, "default", val_metric=0.8, learning_rate=1e-3)
        study.trial(arm, "random", val_metric=0.3, learning_rate=1.15e-3)
        study.trial(arm, "search", "stopped", val_metric=0.95, learning_rate=0.9e-3, epochs_run=1)
        study.trial(arm, "search", "diverged", learning_rate=1e-3)
        study.trial(arm, "search", "oom", learning_rate=1e-3)
        study.trial(arm, "search", val_metric=0.9, learning_rate=1.5e-3)
        study.trial(arm, "search", "diverged", learning_rate=0.1)
        study.trial(arm, "search", "running", learning_rate=1e-3)
        study.trial(arm, "search", "interrupted", val_metric=0.99, learning_rate=1e-3)
        study.retrain(arm, 0.99, val_metric=0.99)
        found = analysis.frame(tmp_path, "learning_rate")
        assert found["learning_rate"].tolist() == pytest.approx([1e-3, 10**-2.75, 0.1], rel=EXACT)
        scores = [[0.8, 0.3, 0.5, 0.5], [0.9], [0.5]]  # the stopped trial's 0.95 is of its first epoch
        best = max if sign > 0 else min
        assert found["n"].tolist() == [5, 1, 1]
        assert found["best"].tolist() == pytest.approx([best(values) for values in scores], abs=EXACT)
        assert found["median"].tolist() == pytest.approx([statistics.median(v) for v in scores], abs=EXACT)
        assert found["diverged"].tolist() == pytest.approx([0.2, 0, 1], abs=EXACT)
        assert found["failed"].tolist() == pytest.approx([0.2, 0, 0], abs=EXACT)
        assert found["stopped"].tolist() == pytest.approx([0.2, 0, 0], abs=EXACT)

    def test_groups_are_by_study_bits_and_optimizer(self, tmp_path: Path) -> None:
        for name in ("one", "two"):
            study = SmallStudy(tmp_path, name)
            for optimizer in ("adam", "sgd"):
                for bits in (4, 32):
                    study.trial(study.arm(optimizer, bits), "search", val_metric=0.5)
        found = analysis.frame(tmp_path, "learning_rate")
        assert found["n"].tolist() == [1] * 8
        assert len(found[["study_id", "weight_bits", "activation_bits", "optimizer"]].drop_duplicates()) == 8

    def test_trials_of_an_earlier_file_are_left_out(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        arm = study.arm("adam")
        study.trial(arm, "search", val_metric=0.5)
        study.trial(arm, "search", val_metric=0.9, epochs=40)
        assert analysis.frame(tmp_path, "learning_rate")[["n", "best"]].values.tolist() == [[1, 0.5]]


class TestEdgeOfRange:
    # The ranges of adam: learning rate 1e-5 to 1e-1, batch size 8 to 64.
    @pytest.mark.parametrize(
        ("rate", "edge", "wide"),
        [
            (1e-3, "none", (1e-5, 1e-1)),
            (3e-5, "low", (1e-6, 1e-1)),  # 0.48 decades from the end
            (3.3e-5, "none", (1e-5, 1e-1)),  # 0.52
            (3.3e-2, "high", (1e-5, 1.0)),  # 0.48
            (3e-2, "none", (1e-5, 1e-1)),  # 0.52
            # A default outside the range: wide enough to have it inside.
            (0.5, "high", (1e-5, 5.0)),
            (5e-6, "low", (5e-7, 1e-1)),
        ],
    )
    def test_learning_rate(self, tmp_path: Path, rate: float, edge: str, wide: tuple[float, float]) -> None:
        row = self.rows(tmp_path, learning_rate=rate).loc["learning_rate"]
        assert (row["best"], row["low"], row["high"], row["edge"]) == (rate, 1e-5, 1e-1, edge)
        assert (row["wide_low"], row["wide_high"]) == pytest.approx(wide, rel=EXACT)

    @pytest.mark.parametrize(
        ("size", "edge", "wide"), [(8, "low", (4, 64)), (16, "none", (8, 64)), (64, "high", (8, 128))]
    )
    def test_batch_size(self, tmp_path: Path, size: int, edge: str, wide: tuple[int, int]) -> None:
        row = self.rows(tmp_path, batch_size=size).loc["batch_size"]
        assert (row["best"], row["low"], row["high"], row["edge"]) == (size, 8, 64, edge)
        assert (row["wide_low"], row["wide_high"]) == wide

    def test_batch_size_of_one_is_no_edge_and_a_fixed_one_is_not_searched(self, tmp_path: Path) -> None:
        for name, low, high in (("one", 1, 4), ("fixed", 4, 4), ("narrow", 2, 4)):
            study = SmallStudy(tmp_path, name)
            ranges = (
                f'{{"learning_rate": {{"low": 2e-4, "high": 4e-4}}, "batch_size": {{"low": {low}, "high": {high}}}}}'
            )
            arm = study.arm("adam", space_json=f'{{"adam": {ranges}}}')
            study.trial(arm, "search", val_metric=0.9, batch_size=low, learning_rate=3e-4)
        found = analysis.frame(tmp_path, "edge_of_range").set_index(["study_id", "dimension"])["edge"]
        assert found[:, "batch_size"].to_dict() == {"one": "none", "narrow": "low"}
        # A range of less than a decade has both ends near any point.
        assert set(found[:, "learning_rate"]) == {"both"}

    @pytest.mark.parametrize(("samples", "edge"), [(127, "none"), (128, "high")])
    def test_a_batch_that_the_training_split_cannot_fill_is_nothing_to_widen_to(
        self, tmp_path: Path, samples: int, edge: str
    ) -> None:
        study = SmallStudy(tmp_path, "s")
        study.trial(study.arm("adam", n_train=samples), "default", val_metric=0.9, batch_size=64)
        row = self.rows(tmp_path, write=False).loc["batch_size"]
        assert (row["edge"], row["wide_high"]) == (edge, 128 if edge == "high" else 64)

    def test_patches_of_a_few_images_fill_larger_batches(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        seen: dict[str, Any] = {"examples_seen": 2_000, "epochs_run": 10}
        study.trial(study.arm("adam", n_train=5), "default", val_metric=0.9, batch_size=64, **seen)
        row = self.rows(tmp_path, write=False).loc["batch_size"]
        assert (row["edge"], row["wide_high"]) == ("high", 128)

    @pytest.mark.parametrize("sign", [1, -1])
    def test_best_is_a_completed_trial_before_retrain(self, tmp_path: Path, sign: int) -> None:
        study = SmallStudy(tmp_path, "s", sign=sign)
        arm = study.arm("adam")
        better, best = (0.8, 0.9) if sign > 0 else (0.2, 0.1)
        study.trial(arm, "search", val_metric=better, learning_rate=2e-3)
        study.trial(arm, "random", val_metric=0.5, learning_rate=3e-3)
        study.trial(arm, "search", "stopped", val_metric=best, learning_rate=4e-3)
        study.trial(arm, "search", "diverged", learning_rate=5e-3)
        study.trial(arm, "search", val_metric=None, learning_rate=6e-3)
        study.trial(arm, "search", val_metric=best, learning_rate=7e-3, epochs=1)
        study.retrain(arm, best, val_metric=best, learning_rate=8e-3)
        assert self.rows(tmp_path, write=False).loc["learning_rate", "best"] == 2e-3

    def test_arm_without_a_known_metric_is_absent_and_a_tie_goes_to_the_last_key(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        study.trial(study.arm("sgd"), "search", val_metric=None)
        arm = study.arm("adam")
        for key, rate in (("b", 1e-3), ("c", 2e-3), ("a", 3e-3)):
            study.trial(arm, "search", val_metric=0.9, learning_rate=rate, trial_key=key)
        found = self.rows(tmp_path, write=False)
        assert set(found["optimizer"]) == {"adam"}
        assert found.loc["learning_rate", "best"] == 2e-3

    def test_joint_arm_has_rows_for_each_optimizer(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s", mode="joint")
        arm = study.arm(None)
        study.trial(arm, "search", val_metric=0.9, optimizer="adam", learning_rate=0.09)
        study.trial(arm, "search", val_metric=0.8, optimizer="sgd", learning_rate=0.09)
        found = analysis.frame(tmp_path, "edge_of_range").set_index(["dimension", "optimizer"])
        # Within half a decade of adam's 0.1, but not of sgd's 1.0.
        assert found.loc["learning_rate"]["edge"].to_dict() == {"adam": "high", "sgd": "none"}
        assert found.loc["learning_rate"]["high"].to_dict() == {"adam": 0.1, "sgd": 1.0}

    @staticmethod
    def rows(results: Path, *, write: bool = True, **values: Any) -> pd.DataFrame:
        if write:
            study = SmallStudy(results, "s")
            study.trial(study.arm("adam"), "default", val_metric=0.9, **values)
        return analysis.frame(results, "edge_of_range").set_index("dimension")


class TestBudget:
    def test_planned_and_ended_trials_and_what_they_cost(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        adam, sgd = study.arm("adam"), study.arm("sgd")
        study.arm("lion")
        study.trial(adam, "default", val_metric=0.5, device_s=4.0)
        study.trial(adam, "random", "diverged", device_s=1.0, epochs_run=1)
        study.trial(adam, "search", "stopped", stop_reason="asha", device_s=1.5, epochs_run=2)
        study.trial(adam, "search", "stopped", stop_reason="budget", device_s=0.5, epochs_run=1)
        study.trial(adam, "search", "error", device_s=None, epochs_run=None)
        study.trial(adam, "search", "running", device_s=None, epochs_run=None)
        study.trial(adam, "search", "interrupted", device_s=1.0, epochs_run=3)
        study.trial(adam, "search", device_s=100.0, epochs=40)  # of an earlier file
        study.retrain(adam, 0.8, 0.8, device_s=2.0)
        study.retrain(adam, 0.8, config_id="an earlier best")
        study.trial(sgd, "default", device_s=6.0)
        found = analysis.frame(tmp_path, "budget").set_index("arm_id")
        row = found.loc["adam-w4a4"]
        stages = ("default", "random", "search", "retrain")
        assert [row[f"planned_{stage}"] for stage in stages] == [1, 2, 6, 3]
        assert [row[f"ended_{stage}"] for stage in stages] == [1, 1, 3, 2]
        assert (row["stopped_by_asha"], row["epochs"], row["device_s"]) == (1, 4 + 1 + 2 + 1 + 3 + 2 * 4, 12.0)
        # Arms of these bits: 12, 6 and 0 seconds, 6 on average.
        assert found["device_s_ratio"].to_dict() == {"adam-w4a4": 2.0, "sgd-w4a4": 1.0, "lion-w4a4": 0.0}
        assert found["equal"].all()

    def test_nothing_spent_yet_has_no_ratio(self, tmp_path: Path) -> None:
        SmallStudy(tmp_path, "s").arm("adam")
        found = analysis.frame(tmp_path, "budget")
        assert (found["epochs"][0], found["device_s"][0]) == (0, 0)
        assert pd.isna(found["device_s_ratio"][0])

    def test_ratio_is_over_arms_of_the_same_study_and_bits(self, tmp_path: Path) -> None:
        for name, seconds in (("one", 1.0), ("two", 10.0)):
            study = SmallStudy(tmp_path, name)
            for bits in (4, 32):
                for optimizer, factor in (("adam", 1), ("sgd", 3)):
                    study.trial(study.arm(optimizer, bits), "default", device_s=seconds * bits * factor)
        assert analysis.frame(tmp_path, "budget")["device_s_ratio"].tolist() == pytest.approx([0.5, 1.5] * 4, rel=EXACT)

    @pytest.mark.parametrize("column", ["planned_search", "planned_retrain", "max_epochs"])
    def test_unequal_plans_are_found_in_their_study_alone(self, tmp_path: Path, column: str) -> None:
        for name, value in (("fair", 5), ("unfair", 6)):
            study = SmallStudy(tmp_path, name)
            study.arm("adam", **{column: 5})
            study.arm("sgd", **{column: value})
        found = analysis.frame(tmp_path, "budget").set_index("study_id")["equal"]
        assert found["fair"].all() and not found["unfair"].any()


class TestDivergence:
    @pytest.mark.parametrize(("k", "n"), [(0, 1), (1, 1), (0, 7), (2, 7), (5, 12), (12, 12)])
    def test_interval_is_wilsons(self, tmp_path: Path, k: int, n: int) -> None:
        study = SmallStudy(tmp_path, "s")
        arm = study.arm("adam")
        stages = ("default", "random", "search")
        for number in range(n):
            study.trial(arm, stages[number % 3], "diverged" if number < k else ("completed", "stopped")[number % 2])
        row = analysis.frame(tmp_path, "divergence").iloc[0]
        wilson = stats.binomtest(k, n).proportion_ci(method="wilson")
        assert (row["n"], row["diverged"]) == (n, k)
        assert (row["rate"], row["ci_low"], row["ci_high"]) == pytest.approx(
            (k / n, wilson.low, wilson.high), abs=EXACT
        )
        assert 0 <= row["ci_low"] <= row["rate"] <= row["ci_high"] <= 1

    def test_trials_that_say_nothing_about_divergence_are_not_counted(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        arm = study.arm("adam")
        for status in ("oom", "error", "running", "interrupted", "completed", "diverged"):
            study.trial(arm, "search", status)
        study.retrain(arm, None, None)
        study.trial(arm, "search", "diverged", epochs=40)
        row = analysis.frame(tmp_path, "divergence").iloc[0]
        assert (row["n"], row["diverged"], row["rate"]) == (2, 1, 0.5)

    def test_groups_are_by_study_workload_bits_and_optimizer(self, tmp_path: Path) -> None:
        for name in ("one", "two"):
            study = SmallStudy(tmp_path, name)
            for bits in (4, 32):
                for optimizer in ("adam", "sgd"):
                    arm = study.arm(optimizer, bits)
                    study.trial(arm, "search", "diverged" if optimizer == "sgd" and bits == 4 else "completed")
        found = analysis.frame(tmp_path, "divergence")
        keys = found[["study_id", "weight_bits", "optimizer"]].itertuples(index=False, name=None)
        rates = dict(zip(keys, found["rate"], strict=True))
        assert len(rates) == 8
        assert rates[("one", 4, "sgd")] == rates[("two", 4, "sgd")] == math.fsum(rates.values()) / 2 == 1


class TestBatchNormGap:
    @pytest.mark.parametrize("sign", [1, -1])
    def test_gap_of_last_epochs_with_an_interval(self, tmp_path: Path, sign: int) -> None:
        study = SmallStudy(tmp_path, "s", sign=sign)
        arm = study.arm("adam")
        pairs = [(0.70, 0.75), (0.60, 0.72), (0.80, 0.79)]
        for before, after in pairs:
            key = study.trial(arm, "search", val_metric=after)
            study.last_epoch(key, val_metric_pre_bn=before, val_metric=after)
        # Not re-estimated, not ended, and an epoch that is not the last one.
        study.last_epoch(study.trial(arm, "search"), val_metric=0.9)
        study.last_epoch(study.trial(arm, "search", "stopped"), val_metric=0.9, val_metric_pre_bn=0.1)
        study.last_epoch(study.trial(arm, "search", epochs_run=3), val_metric=0.9, val_metric_pre_bn=0.1)
        (row,) = analysis.frame(tmp_path, "batch_norm_gap").to_dict("records")
        gaps = [sign * (after - before) for before, after in pairs]
        assert (row["n"], row["optimizer"], row["weight_bits"]) == (3, "adam", 4)
        assert row["val_metric_pre_bn"] == pytest.approx(0.7, abs=EXACT)
        assert row["val_metric"] == pytest.approx(statistics.mean(after for _, after in pairs), abs=EXACT)
        assert row["gap"] == pytest.approx(statistics.mean(gaps), abs=EXACT)
        assert row["largest_gap"] == pytest.approx(max(gaps), abs=EXACT)
        interval = stats.ttest_1samp(gaps, 0).confidence_interval(0.95)
        assert (row["ci_low"], row["ci_high"]) == pytest.approx((interval.low, interval.high), abs=EXACT)

    def test_one_trial_has_no_interval_and_arms_are_apart(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        for number, (optimizer, bits) in enumerate((("adam", 4), ("adam", 32), ("sgd", 4))):
            key = study.trial(study.arm(optimizer, bits), "default")
            study.last_epoch(key, val_metric_pre_bn=0.5, val_metric=0.5 + number / 8)
        found = analysis.frame(tmp_path, "batch_norm_gap")
        assert found[["optimizer", "weight_bits", "gap"]].values.tolist() == [
            ["adam", 32, 0.125], ["sgd", 4, 0.25], ["adam", 4, 0.0]
        ]  # fmt: skip
        assert found["ci_low"].isna().all()


class TestOscillation:
    def test_means_of_layers_over_completed_trials(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        arm, other = study.arm("adam"), study.arm("sgd")

        def layers(*frequencies: float, frozen: float | None = None) -> list[dict[str, Any]]:
            rows = [
                {"layer": name, "layer_index": index, "bits": 8 - 4 * index, "oscillation_frequency": frequency}
                for index, (name, frequency) in enumerate(zip(("z", "a"), frequencies, strict=True))
            ]
            known = [{**row, "oscillating_fraction": 0.5, "frozen_fraction": frozen} for row in rows]
            return [*known, {"layer": "z", "layer_index": 0, "kind": "activation"}]

        study.last_epoch(study.trial(arm, "search"), layers(0.01, 0.04))
        study.last_epoch(study.trial(arm, "search"), layers(0.03, 0.02, frozen=0.25))
        study.last_epoch(study.trial(arm, "search", "diverged"), layers(0.9, 0.9))
        study.last_epoch(study.trial(other, "search"), layers(0.5, 0.6))
        found = analysis.frame(tmp_path, "oscillation")
        assert found[["optimizer", "layer", "bits", "n"]].values.tolist() == [
            ["adam", "z", 8, 2], ["adam", "a", 4, 2], ["sgd", "z", 8, 1], ["sgd", "a", 4, 1]
        ]  # fmt: skip
        assert found["frequency"].tolist() == pytest.approx([0.02, 0.03, 0.5, 0.6], abs=EXACT)
        assert found["oscillating"].tolist() == [0.5] * 4
        assert found["frozen"].fillna(-1).tolist() == [0.25, 0.25, -1, -1]


class TestBestTrial:
    @pytest.mark.parametrize("sign", [1, -1])
    def test_first_the_best_mean_over_seeds_then_the_best_seed(self, tmp_path: Path, sign: int) -> None:
        study = SmallStudy(tmp_path, "s", sign=sign)
        # The second has the best single seed, and the worse mean; test data says the opposite of validation data.
        for optimizer, values in {"adam": (0.7, 0.8, 0.75), "sgd": (0.9, 0.55, 0.6)}.items():
            arm = study.arm(optimizer, best_config_id=optimizer)
            for seed, value in enumerate(values):
                study.trial(
                    arm, "retrain", config_id=optimizer, seed=seed, val_metric=sign * value, test_metric=1 - value
                )
        (row,) = analysis.frame(tmp_path, "best_trial").itertuples()
        assert (row.optimizer, row.seed, row.val_metric, row.n) == ("adam", 1, sign * 0.8, 3)
        assert row.mean_val == pytest.approx(sign * 0.75, abs=EXACT)

    def test_a_trial_that_diverged_counts_as_the_trivial_score_and_is_not_taken(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        for optimizer, values in {"adam": (0.7, 0.72), "sgd": (0.8, None)}.items():
            arm = study.arm(optimizer, best_config_id=optimizer, trivial_score=0.5)
            for seed, value in enumerate(values):
                status = "completed" if value else "diverged"
                study.trial(arm, "retrain", status, config_id=optimizer, seed=seed, val_metric=value)
        (row,) = analysis.frame(tmp_path, "best_trial").itertuples()
        assert (row.optimizer, row.seed) == ("adam", 1)

    def test_quantized_models_stand_before_the_floating_point_control(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        for bits, value in {32: 0.99, 8: 0.9, 2: 0.6}.items():
            study.trial(study.arm("adam", bits), "retrain", val_metric=value)
        assert analysis.frame(tmp_path, "best_trial")["weight_bits"].tolist() == [8, 2, 32]

    def test_other_stages_have_no_say(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        arm = study.arm("adam")
        study.trial(arm, "search", val_metric=0.99)
        assert not len(analysis.frame(tmp_path, "best_trial"))
