import statistics
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import analysis
from tests.helpers.records import BOARD, SmallStudy, rows

EXACT = 1e-12  # a few double-precision operations on numbers near 1


class TestRetrainScores:
    @pytest.mark.parametrize("sign", [1, -1])
    def test_failures_have_the_trivial_score_of_their_split(self, tmp_path: Path, sign: int) -> None:
        study = SmallStudy(tmp_path, "s", sign=sign)
        trivial: dict[str, Any] = {"trivial_score": sign * 0.5, "trivial_test_score": sign * 0.4}
        arm = study.arm("adam", margin=0.01, n_test=200, **trivial)
        study.trial(arm, "retrain", seed=1, test_metric=sign * 0.8, val_metric=sign * 0.9)
        study.trial(arm, "retrain", "diverged", seed=2)
        study.trial(arm, "retrain", seed=3, test_metric=sign * 0.7, val_metric=sign * 0.6)
        study.trial(arm, "retrain", "oom", seed=4)
        study.trial(arm, "retrain", "error", seed=5, val_metric=sign * 0.9)
        found = analysis.frame(tmp_path, "retrain_scores")
        assert rows(found, "seed", "score", "val_score", "failed") == [
            [1, sign * 0.8, sign * 0.9, False],
            [2, sign * 0.4, sign * 0.5, True],
            [3, sign * 0.7, sign * 0.6, False],
            [4, sign * 0.4, sign * 0.5, True],
            [5, sign * 0.4, sign * 0.5, True],
        ]
        assert rows(found[:1], *BOARD, "optimizer", "repeat", "trial_key", "config_id", "metric", "unit", "sign") == [
            ["s", "comparison", "m-d", "lsq", 4, 4, "adam", 1, "t001", "best"]
            + ["accuracy" if sign > 0 else "error", "fraction", sign]
        ]
        assert rows(found[:1], "margin", "trivial", "n_test", "learning_rate", "batch_size") == [
            [0.01, sign * 0.4, 200, 1e-3, 32]
        ]

    def test_other_stages_and_what_has_not_ended_have_no_row(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        arm = study.arm("adam")
        for stage in ("default", "random", "search"):
            study.trial(arm, stage, test_metric=0.9)
        for status in ("running", "interrupted", "stopped"):
            study.trial(arm, "retrain", status, test_metric=0.9)
        study.retrain(arm, 0.9, config_id="an earlier best")
        assert not len(analysis.frame(tmp_path, "retrain_scores"))

    def test_unknown_test_metric_is_a_failure_and_unknown_validation_metric_trivial(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        arm = study.arm("adam")
        study.trial(arm, "retrain", seed=1, test_metric=None, val_metric=0.9)
        study.trial(arm, "retrain", seed=2, test_metric=0.8, val_metric=None)
        found = analysis.frame(tmp_path, "retrain_scores")
        assert rows(found, "score", "val_score", "failed") == [[0.4, 0.5, True], [0.8, 0.5, False]]

    def test_scores_are_the_leaderboards(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        for optimizer, scores in {"adam": (0.8, None, 0.9), "sgd": (0.7, 0.75, 0.71)}.items():
            study.retrain(study.arm(optimizer), *scores)
        means = analysis.frame(tmp_path, "retrain_scores").groupby("optimizer")["score"].mean()
        board = analysis.frame(tmp_path, "leaderboard").set_index("optimizer")["mean"]
        assert means.to_dict() == pytest.approx(board.to_dict(), abs=EXACT)


class TestTuningScores:
    @pytest.mark.parametrize("sign", [1, -1])
    def test_scores_by_status(self, tmp_path: Path, sign: int) -> None:
        study = SmallStudy(tmp_path, "s", sign=sign)
        arm = study.arm("adam", trivial_score=sign * 0.5, margin=0.02)
        study.trial(arm, "default", val_metric=sign * 0.8, learning_rate=2e-3, steps_run=40)
        study.trial(arm, "random", "diverged", epochs_run=2)
        study.trial(arm, "search", "stopped", stop_reason="asha", val_metric=sign * 0.7, epochs_run=1)
        study.trial(arm, "search", "stopped", stop_reason="asha", val_metric=sign * 0.75, epochs_run=2)
        study.trial(arm, "search", "oom", epochs_run=0)
        study.trial(arm, "search", "error", epochs_run=None)
        study.trial(arm, "search", val_metric=None)
        study.trial(arm, "search", "running", val_metric=sign * 0.99)
        study.trial(arm, "search", "interrupted", val_metric=sign * 0.99)
        study.retrain(arm, 0.9, val_metric=sign * 0.99)
        found = analysis.frame(tmp_path, "tuning_scores")
        assert rows(found, "stage", "status", "epochs_run", "score", "stopped_metric") == [
            ["default", "completed", 4, sign * 0.8, None],
            ["random", "diverged", 2, sign * 0.5, None],
            ["search", "stopped", 1, None, sign * 0.7],
            ["search", "stopped", 2, None, sign * 0.75],
            ["search", "oom", 0, sign * 0.5, None],
            ["search", "error", None, sign * 0.5, None],
            ["search", "completed", 4, sign * 0.5, None],
        ]
        assert found["default_learning_rate"].tolist() == [2e-3] * 7
        assert rows(
            found[:1], *BOARD, "optimizer", "arm_id", "trial_key", "learning_rate", "batch_size", "epochs", "steps_run"
        ) == [["s", "comparison", "m-d", "lsq", 4, 4, "adam", "adam-w4a4", "t001", 2e-3, 32, 4, 40]]
        assert rows(found[:1], "metric", "unit", "sign", "margin", "trivial", "params_json") == [
            ["accuracy" if sign > 0 else "error", "fraction", sign, 0.02, sign * 0.5]
            + ['{"scheme": {"ste": "clip_then_round", "first_last_bits": 8}}']
        ]

    def test_default_learning_rate_is_the_arms_and_optimizers_own(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        for bits, rate in ((4, 1e-3), (32, 3e-3)):
            arm = study.arm("adam", bits)
            study.trial(arm, "default", "diverged", learning_rate=rate)
            study.trial(arm, "search", val_metric=0.9, learning_rate=0.1)
        study.trial(study.arm("sgd"), "search", val_metric=0.9)
        joint = SmallStudy(tmp_path, "joint", mode="joint")
        arm = joint.arm(None)
        for optimizer, rate in (("adam", 1e-4), ("lion", 1e-5)):
            joint.trial(arm, "default", optimizer=optimizer, learning_rate=rate)
        found = analysis.frame(tmp_path, "tuning_scores")[
            ["study_id", "weight_bits", "optimizer", "default_learning_rate"]
        ]
        assert {tuple(row) for row in rows(found, *found.columns)} == {
            ("s", 4, "adam", 1e-3), ("s", 32, "adam", 3e-3), ("s", 4, "sgd", None),
            ("joint", 4, "adam", 1e-4), ("joint", 4, "lion", 1e-5),
        }  # fmt: skip


class TestLearningCurves:
    @pytest.mark.parametrize("sign", [1, -1])
    def test_a_trial_that_diverged_goes_on_at_the_trivial_score(self, tmp_path: Path, sign: int) -> None:
        study = SmallStudy(tmp_path, "s", sign=sign)
        arm = study.arm("adam", trivial_score=sign * 0.5)
        whole = study.trial(arm, "retrain", seed=1, test_metric=sign * 0.8)
        study.curve(whole, *(sign * value for value in (0.6, 0.7, 0.75, 0.8)), step=[10, 20, 30, 40])
        cut = study.trial(arm, "retrain", "diverged", seed=2, epochs_run=2)
        study.curve(cut, sign * 0.65, None, step=[10, 13], train_loss=[0.25, None])
        study.trial(arm, "retrain", "oom", seed=3, epochs_run=0)
        study.curve(study.trial(arm, "search", val_metric=0.9), 0.9)
        found = analysis.frame(tmp_path, "learning_curves")
        assert rows(found, "seed", "epoch", "step", "score", "val_metric") == [
            [1, 1, 10, sign * 0.6, sign * 0.6],
            [1, 2, 20, sign * 0.7, sign * 0.7],
            [1, 3, 30, sign * 0.75, sign * 0.75],
            [1, 4, 40, sign * 0.8, sign * 0.8],
            [2, 1, 10, sign * 0.65, sign * 0.65],
            [2, 2, 13, sign * 0.5, None],
            [2, 3, None, sign * 0.5, None],
            [2, 4, None, sign * 0.5, None],
            *([3, epoch, None, sign * 0.5, None] for epoch in (1, 2, 3, 4)),
        ]
        assert rows(found[4:6], "train_loss", "trivial", "sign") == [[0.25, sign * 0.5, sign], [None, sign * 0.5, sign]]

    def test_the_last_attempt_of_an_epoch_counts_once(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        key = study.trial(study.arm("adam"), "retrain", test_metric=0.8)
        study.curve(key, 0.6, 0.7)
        study.curve(key, 0.6, 0.71, 0.75, 0.8, attempt=[2] * 4)
        assert analysis.frame(tmp_path, "learning_curves")["score"].tolist() == [0.6, 0.71, 0.75, 0.8]


class TestLayerQuantities:
    def test_means_over_completed_retrain_trials(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        arm = study.arm("adam")
        steps, starts, frequencies = (0.2, 0.3, 0.7), (0.1, 0.2, 0.5), (0.01, 0.02, 0.06)
        layer = {"layer": "conv", "layer_index": 1, "bits": 4, "clip_fraction_low": 0.1, "clip_fraction_high": 0.05}
        for seed, (step, start, frequency) in enumerate(zip(steps, starts, frequencies, strict=True)):
            of_seed = {"step_size": step, "step_size_init": start}
            weight = {**layer, **of_seed, "oscillation_frequency": frequency, "oscillating_fraction": 0.5}
            key = study.trial(arm, "retrain", seed=seed, test_metric=0.8)
            study.last_epoch(key, [weight, {**layer, **of_seed, "kind": "activation", "step_size_init": 0.0}])
        for stage, status in (("retrain", "diverged"), ("search", "completed")):
            study.last_epoch(study.trial(arm, stage, status), [{**layer, "step_size": 9.0}])
        activation, weight = (row._asdict() for row in analysis.frame(tmp_path, "layer_quantities").itertuples())
        assert (activation["kind"], weight["kind"]) == ("activation", "weight")
        assert (weight["layer"], weight["bits"], weight["epoch"], weight["n"]) == ("conv", 4, 4, 3)
        assert weight["step_size"] == pytest.approx(statistics.mean(steps), abs=EXACT)
        assert weight["step_size_ratio"] == pytest.approx((2 + 1.5 + 1.4) / 3, abs=EXACT)
        assert weight["frequency"] == pytest.approx(0.03, abs=EXACT)
        assert weight["oscillating"] == 0.5 and pd.isna(weight["frozen"])
        assert weight["clipped"] == pytest.approx(0.15, abs=EXACT)
        assert pd.isna(activation["frequency"]) and pd.isna(activation["step_size_ratio"])

    def test_epochs_and_bits_are_apart(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        for bits in (4, 2):
            key = study.trial(study.arm("adam", bits), "retrain", test_metric=0.8)
            study.last_epoch(key, [{"layer": "a", "epoch": epoch, "step_size": epoch / bits} for epoch in (1, 2)])
        found = analysis.frame(tmp_path, "layer_quantities")
        assert rows(found, "weight_bits", "epoch", "step_size") == [[4, 1, 0.25], [4, 2, 0.5], [2, 1, 0.5], [2, 2, 1.0]]
