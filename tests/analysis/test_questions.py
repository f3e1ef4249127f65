import json
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

    def test_the_rate_of_another_step_optimizer_has_its_edges_too(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        space = {"sgd": {"step_rate": {"low": 1e-5, "high": 1e-1, "log": True}}}
        arm = study.arm("sgd", space_json=json.dumps(space), step_optimizer="adam")
        scheme = {"ste": "clip_then_round", "first_last_bits": 8}
        for score, rate in ((0.9, 0.05), (0.8, 1e-3)):
            params = json.dumps({"scheme": scheme, "quantizer_optimizer": {"learning_rate": rate}})
            study.trial(arm, "search", val_metric=score, params_json=params)
        row = analysis.frame(tmp_path, "edge_of_range").iloc[0]
        assert row[["optimizer", "best", "edge", "untried"]].tolist() == ["sgd", 0.05, "high", "high"]
        assert row["wide_high"] == pytest.approx(1.0, rel=EXACT), "a decade, as of any learning rate"

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

    @pytest.mark.parametrize(
        ("lower", "higher", "untried"),
        [
            (3.1e-4, 3.2e-3, "none"),  # half a decade on either side, and more
            (3.2e-4, 3.2e-3, "low"),
            (3.1e-4, 3.1e-3, "high"),
            (9e-4, 1.1e-3, "both"),
        ],
    )
    def test_an_edge_is_clear_once_trials_have_ended_beyond_the_best(
        self, tmp_path: Path, lower: float, higher: float, untried: str
    ) -> None:
        study = SmallStudy(tmp_path, "s")
        arm = study.arm("adam")
        study.trial(arm, "search", val_metric=0.9, learning_rate=1e-3)
        study.trial(arm, "search", "stopped", val_metric=0.6, learning_rate=lower, batch_size=16)
        study.trial(arm, "random", "diverged", learning_rate=higher, batch_size=64)
        # None of these says anything: not of this arm, not ended, of no configuration's doing, not for tuning.
        study.trial(study.arm("sgd"), "search", val_metric=0.5, learning_rate=1e-5)
        for rate in (1e-5, 1e-1):
            for status in ("running", "interrupted", "error"):
                study.trial(arm, "search", status, learning_rate=rate)
            study.retrain(arm, 0.9, learning_rate=rate)
        found = analysis.frame(tmp_path, "edge_of_range").set_index(["optimizer", "dimension"]).loc["adam"]
        assert found["untried"].to_dict() == {"learning_rate": untried, "batch_size": "none"}
        assert set(found["edge"]) == {"none"}

    def test_a_range_that_was_widened_is_not_clear_before_a_trial_has_ended_in_its_new_part(
        self, tmp_path: Path
    ) -> None:
        """Lion: the best lay at 1e-3, the end of the range; 1e-2 is far away now, and nothing is known above 1e-3."""
        space = {"lion": {"learning_rate": {"low": 1e-7, "high": 1e-2, "log": True}}}
        study = SmallStudy(tmp_path, "s")
        arm = study.arm("lion", space_json=json.dumps(space))
        for rate, metric in ((1e-6, 0.5), (1e-5, 0.6), (1e-4, 0.7), (9e-4, 0.8)):
            study.trial(arm, "search", val_metric=metric, learning_rate=rate)
        row = self.rows(tmp_path, write=False).loc["learning_rate"]
        assert (row["edge"], row["untried"]) == ("none", "high")
        study.trial(arm, "search", val_metric=0.75, learning_rate=4e-3)
        assert self.rows(tmp_path, write=False).loc["learning_rate", "untried"] == "none"

    def test_where_nothing_can_be_tried_nothing_is_untried(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        space = {"adam": {"batch_size": {"low": 1, "high": 64}}}
        study.trial(
            study.arm("adam", n_train=127, space_json=json.dumps(space)), "search", val_metric=0.9, batch_size=64
        )
        assert self.rows(tmp_path, write=False).loc["batch_size", "untried"] == "low"
        study.trial("adam-w4a4", "search", val_metric=0.95, batch_size=1)
        assert self.rows(tmp_path, write=False).loc["batch_size", "untried"] == "none"

    OPTIONS: dict[str, dict[str, Any]] = {
        "momentum": {"low": 0.5, "high": 0.99, "log": False},
        "weight_decay": {"low": 1e-6, "high": 1e-2, "log": True},
        "max_norm": {"low": 0.5, "high": 8.0, "log": True},
        "gamma": {"low": 1.0, "high": 9.0, "log": False},
        "quantizer_lr_multiplier": {"low": 0.01, "high": 1.0, "log": True},
        "bits": {"low": 0, "high": 2, "log": False},
    }

    CASES = (
        # The weight of an average: its distance to one counts, in factors of two.
        ("momentum", 0.985, "high", (0.5, 0.995)),
        ("momentum", 0.975, "none", (0.5, 0.99)),
        ("momentum", 0.55, "low", (0.3775, 0.99)),  # an eighth of 0.49 is near, and a quarter the step
        ("momentum", 0.57, "none", (0.5, 0.99)),
        ("weight_decay", 4e-3, "high", (1e-6, 0.1)),  # half a decade is an eighth of four
        ("weight_decay", 3e-3, "none", (1e-6, 1e-2)),
        ("max_norm", 6.0, "high", (0.5, 16.0)),  # 16 ** (1 / 8) is 1.41, and its square 2
        ("max_norm", 5.0, "none", (0.5, 8.0)),
        ("max_norm", 0.6, "low", (0.25, 8.0)),
        ("gamma", 8.5, "high", (1.0, 11.0)),
        ("gamma", 1.5, "low", (0.5, 9.0)),  # not below zero
        ("quantizer_lr_multiplier", 0.9, "high", (0.01, 10**0.5)),
        ("quantizer_lr_multiplier", 0.3, "none", (0.01, 1.0)),
    )
    """A dimension and its best value, at which edge that is, and the wider range; each an optimizer of one study."""

    def test_every_searched_dimension_has_edges(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        for number, (dimension, value, _, _) in enumerate(self.CASES):
            arm = study.arm(f"o{number}", space_json=json.dumps({f"o{number}": self.OPTIONS}))
            options = {"momentum": 0.8, "weight_decay": 1e-4, "max_norm": 2.0, "gamma": 5.0, dimension: value}
            self.option_trial(study, arm, options)
        rows = analysis.frame(tmp_path, "edge_of_range").set_index(["optimizer", "dimension"])
        for number, case in enumerate(self.CASES):
            dimension, value, edge, wide = case
            found = rows.loc[f"o{number}"]
            assert set(found.index) == self.OPTIONS.keys() - {"bits"}, "positions in a list have no edges"
            assert found["edge"].drop(dimension).eq("none").all(), case
            row = found.loc[dimension]
            assert (row["best"], row["edge"]) == (value, edge), case
            assert (row["wide_low"], row["wide_high"]) == pytest.approx(wide, rel=EXACT), case

    @staticmethod
    def option_trial(study: SmallStudy, arm: str, options: dict[str, float], **values: Any) -> None:
        multiplier = options.pop("quantizer_lr_multiplier", 0.1)
        scheme = {"ste": "clip_then_round", "first_last_bits": 8}
        params = json.dumps({"scheme": scheme, "optimizer_options": options})
        known = {"val_metric": 0.9, "params_json": params, "quantizer_lr_multiplier": multiplier}
        study.trial(arm, "search", **{**known, **values})

    def test_options_are_untried_where_no_trial_has_ended_beyond(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        arm = study.arm("adam", space_json=json.dumps({"adam": self.OPTIONS}))
        middle = {"momentum": 0.8, "weight_decay": 1e-4, "max_norm": 2.0, "gamma": 5.0}
        self.option_trial(study, arm, dict(middle))
        assert set(self.rows(tmp_path, write=False)["untried"]) == {"both"}
        self.option_trial(
            study, arm, {"momentum": 0.9, "weight_decay": 1e-3, "max_norm": 3.0, "gamma": 6.0}, val_metric=0.5
        )
        self.option_trial(
            study, arm, {"momentum": 0.74, "weight_decay": 2e-5, "max_norm": 1.4, "gamma": 4.0}, val_metric=0.5
        )
        # 0.8 to 0.9 halves the distance to one; 0.74 is an eighth of the range away, and 1.4 less than 2 / 1.41.
        assert self.rows(tmp_path, write=False)["untried"].to_dict() == {
            "momentum": "low",
            "weight_decay": "none",
            "max_norm": "none",
            "gamma": "none",
            "quantizer_lr_multiplier": "both",
        }

    def test_a_rate_of_quantizers_is_none_of_floating_point(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        arm = study.arm("adam", 32, space_json=json.dumps({"adam": self.OPTIONS}))
        self.option_trial(study, arm, {"momentum": 0.8}, quantizer_lr_multiplier=1.0)
        assert "quantizer_lr_multiplier" not in self.rows(tmp_path, write=False).index

    @pytest.mark.parametrize(
        ("seeds", "failed"),
        [
            ((None, None, None), True),
            ((None, None, 0.9), True),
            ((None, 0.9, 0.9), False),
            ((0.9, 0.9, 0.9), False),
            ((), False),
        ],
    )
    def test_what_failed_with_fresh_seeds_calls_for_nothing_in_its_direction(
        self, tmp_path: Path, seeds: tuple[float | None, ...], failed: bool
    ) -> None:
        study = SmallStudy(tmp_path, "s")
        arm = study.arm("adam")
        study.trial(arm, "search", val_metric=0.9, learning_rate=0.09, batch_size=64, config_id="best")
        study.retrain(arm, *seeds, learning_rate=0.09)
        found = self.rows(tmp_path, write=False)
        assert set(found["edge"]) == {"high"} and set(found["failed_again"]) == {failed}
        assert found["wide_high"].to_dict() == {
            "learning_rate": 0.1 if failed else 1.0,
            "batch_size": 64 if failed else 128,
        }

    def test_a_run_that_learned_nothing_has_failed_too(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        arm = study.arm("adam")
        study.trial(arm, "search", val_metric=0.9, learning_rate=0.09, config_id="best")
        study.retrain(arm, 0.1, 0.1, learned=False, learning_rate=0.09)
        assert self.rows(tmp_path, write=False).loc["learning_rate", "failed_again"]

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
