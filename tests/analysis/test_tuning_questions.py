from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from opda.nonparametric import EmpiricalDistribution
from scipy import stats

import analysis
from tests.helpers.records import SmallStudy, rows
from tune_qat.results.layout import table_folder
from tune_qat.results.writer import write_rows

EXACT = 1e-12  # a few double-precision operations on numbers near 1


class TestBatchSize:
    @pytest.mark.parametrize("sign", [1, -1])
    def test_cells_and_the_best_rate_of_each_batch_size(self, tmp_path: Path, sign: int) -> None:
        study = SmallStudy(tmp_path, "s", sign=sign)
        trivial: dict[str, Any] = {"trivial_score": sign * 0.5}
        arm = study.arm("adam", **trivial)

        def trial(stage: str, status: str, batch_size: int, rate: float, metric: float | None = None) -> None:
            value = None if metric is None else sign * metric
            study.trial(arm, stage, status, batch_size=batch_size, learning_rate=rate, val_metric=value)

        # 1e-3 and 1.7e-3 are in one half decade, 1.8e-3 in the next.
        trial("default", "completed", 16, 1e-3, 0.7)
        trial("random", "completed", 16, 1.7e-3, 0.8)
        trial("search", "completed", 16, 1.8e-3, 0.75)
        trial("search", "stopped", 16, 1e-3, 0.95)
        trial("search", "diverged", 16, 1e-3)
        trial("search", "oom", 64, 1e-1)
        trial("search", "completed", 64, 1e-2, 0.4)  # below the trivial score, and yet the best
        trial("search", "diverged", 128, 1e-2)
        trial("search", "stopped", 128, 1e-1, 0.9)
        study.retrain(arm, 0.99, val_metric=sign * 0.99)
        found = analysis.frame(tmp_path, "batch_size")
        middle = [1e-3, 10**-2.5, 1e-2, 1e-1, 1e-2, 1e-1]
        assert found["learning_rate"].tolist() == pytest.approx(middle, rel=EXACT)
        assert rows(found, "batch_size", "n", "best", "best_learning_rate", "best_at_batch_size") == [
            [16, 4, sign * 0.8, 1.7e-3, True],
            [16, 1, sign * 0.75, 1.7e-3, False],
            [64, 1, sign * 0.4, 1e-2, True],
            [64, 1, sign * 0.5, 1e-2, False],
            [128, 1, sign * 0.5, None, False],
            [128, 1, None, None, False],
        ]
        assert rows(found, "diverged", "failed", "stopped") == [
            [0.25, 0, 0.25], [0, 0, 0], [0, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1]
        ]  # fmt: skip

    def test_boards_are_apart_and_a_tie_goes_to_the_last_key(self, tmp_path: Path) -> None:
        for name in ("one", "two"):
            study = SmallStudy(tmp_path, name)
            for bits in (32, 4):
                arm = study.arm("adam", bits)
                for key, rate in (("b", 1e-3), ("c", 2e-3), ("a", 3e-3)):
                    study.trial(arm, "search", val_metric=0.7, learning_rate=rate, trial_key=f"{key}{bits}")
        found = analysis.frame(tmp_path, "batch_size")
        assert found["n"].tolist() == [1, 2] * 4  # 2e-3 and 3e-3 are in one half decade
        assert set(found["best_learning_rate"]) == {2e-3}


class TestExpectedBest:
    @pytest.mark.parametrize("sign", [1, -1])
    def test_is_the_v_statistic_of_opda(self, tmp_path: Path, sign: int) -> None:
        study = SmallStudy(tmp_path, "s", sign=sign)
        trivial: dict[str, Any] = {"trivial_score": sign * 0.5}
        # Two repeats of one arm, which are pooled.
        arm, again = study.arm("adam", **trivial), study.arm("adam", arm_id="again", repeat=1, **trivial)
        metrics: list[float | None] = [0.9, 0.3, 0.7, 0.7, None, 0.85]
        for number, metric in enumerate(metrics):
            status = ("diverged", "completed")[metric is not None]
            value = None if metric is None else sign * metric
            study.trial((arm, again)[number % 2], "random", status, val_metric=value)
        study.trial(arm, "search", val_metric=sign * 0.99)
        study.trial(arm, "default", val_metric=sign * 0.99)
        study.trial(arm, "random", "stopped", stop_reason="user", val_metric=sign * 0.99)
        found = analysis.frame(tmp_path, "expected_best")
        ks = list(range(1, 7))
        assert rows(found, "k", "n") == [[k, 6] for k in ks]
        scores = [sign * (0.5 if metric is None else metric) for metric in metrics]
        expected = EmpiricalDistribution(scores).v_tuning_curve(ks, minimize=sign < 0)
        assert found["expected_best"].tolist() == pytest.approx(expected.tolist(), abs=EXACT)
        assert found["expected_best"][0] == pytest.approx(np.mean(scores), abs=EXACT)

    def test_a_failure_without_a_known_score_leaves_nothing_to_expect(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        arm = study.arm("adam")
        study.trial(arm, "random", "diverged")
        study.trial(arm, "random", val_metric=0.9)
        arms = pq.ParquetFile(next(tmp_path.glob("arms/*/*.parquet"))).read().to_pylist()
        path = table_folder(tmp_path, "arms", "s") / "arms.parquet"
        write_rows(path, "arms", [{**arms[0], "trivial_score": None}], imported=True)
        assert rows(analysis.frame(tmp_path, "expected_best"), "k", "expected_best") == [[1, None], [2, None]]

    def test_arms_are_apart_and_without_random_trials_there_is_no_answer(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        for optimizer, bits, n in (("adam", 4, 3), ("adam", 32, 2), ("sgd", 4, 1)):
            arm = study.arm(optimizer, bits)
            for number in range(n):
                study.trial(arm, "random", val_metric=0.6 + number / 10)
        study.trial(study.arm("lion"), "search", val_metric=0.9)
        found = analysis.frame(tmp_path, "expected_best")
        assert rows(found, "optimizer", "weight_bits", "k", "n") == [
            ["adam", 32, 1, 2], ["adam", 32, 2, 2],
            ["adam", 4, 1, 3], ["adam", 4, 2, 3], ["adam", 4, 3, 3], ["sgd", 4, 1, 1],
        ]  # fmt: skip


class TestRungCorrelation:
    @pytest.mark.parametrize("sign", [1, -1])
    def test_is_spearmans_with_failures_and_ties(self, tmp_path: Path, sign: int) -> None:
        study = SmallStudy(tmp_path, "s", sign=sign)
        asha: dict[str, Any] = {"scheduler": "asha", "grace_epochs": 1, "reduction_factor": 2.0}
        trivial: dict[str, Any] = {"trivial_score": sign * 0.5}
        arm = study.arm("adam", **trivial, **asha)
        curves: list[list[float | None]] = [
            # The first starts late and ends best; two tie at the end, the last diverges after the second epoch.
            [0.60, 0.74, 0.8, 0.90],
            [0.70, 0.72, 0.8, 0.85],
            [0.65, 0.70, 0.8, 0.70],
            [0.62, 0.75, 0.8, 0.70],
            [0.70, 0.71, None],
            [0.50, 0.60, 0.5, 0.40],  # below the trivial score, where the one that diverged ends
        ]
        for number, curve in enumerate(curves):
            values = [None if value is None else sign * value for value in curve]
            status = "completed" if len(curve) == 4 else "diverged"
            stage = "random" if number else "default"
            key = study.trial(arm, stage, status, val_metric=values[-1], epochs_run=len(curve))
            study.curve(key, *values)
        # Neither a selection nor what never reached a rung.
        study.curve(study.trial(arm, "search", val_metric=0.99), 0.1, 0.1, 0.1, 0.99)
        study.curve(study.trial(arm, "search", "stopped", val_metric=0.99, epochs_run=1), 0.99)
        study.curve(study.trial(arm, "random", "diverged", epochs_run=1), None)
        ends = [0.90, 0.85, 0.70, 0.70, 0.5, 0.40]
        found = analysis.frame(tmp_path, "rung_correlation")
        expected = [stats.spearmanr([curve[epoch] for curve in curves], ends).statistic for epoch in (0, 1)]
        assert rows(found, "rung", "reduction_factor", "n") == [[1, 2.0, 6], [2, 2.0, 6]]
        assert found["spearman"].tolist() == pytest.approx(expected, abs=EXACT)
        # One in two goes on, of six trials three: place 5 does not.
        assert rows(found, "place_of_best", "kept") == [[5, False], [2, True]]

    def test_rungs_are_the_arms_own(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        settings: dict[str, dict[str, Any]] = {
            "adam": {"grace_epochs": 1, "reduction_factor": 3.0, "max_epochs": 9},
            "sgd": {"grace_epochs": 2, "reduction_factor": 2.0, "max_epochs": 5},
            "lion": {"grace_epochs": 1, "reduction_factor": 2.0, "max_epochs": 4, "scheduler": "none"},
            "rmsprop": {"grace_epochs": 4, "reduction_factor": 2.0, "max_epochs": 4},
        }
        for optimizer, asha in settings.items():
            arm = study.arm(optimizer, **{"scheduler": "asha", **asha})
            for number in range(3):
                curve = [0.5 + (epoch + number) / 20 for epoch in range(asha["max_epochs"])]
                study.curve(study.trial(arm, "random", val_metric=curve[-1]), *curve)
        found = analysis.frame(tmp_path, "rung_correlation")
        assert rows(found, "optimizer", "rung") == [["adam", 1], ["adam", 3], ["sgd", 2], ["sgd", 4]]
        assert found["spearman"].tolist() == pytest.approx([1.0] * 4, abs=EXACT)

    def test_the_last_place_that_goes_on_is_rounded_up_and_of_equal_ends_the_better_start_counts(
        self, tmp_path: Path
    ) -> None:
        study = SmallStudy(tmp_path, "s")
        starts = {"adam": [0.5, 0.7, 0.6, 0.4, 0.3], "sgd": [0.5, 0.7, 0.6, 0.8, 0.3]}
        for optimizer, values in starts.items():
            arm = study.arm(optimizer, scheduler="asha", grace_epochs=2, reduction_factor=2.0)
            for number, start in enumerate(values):
                end = 0.9 if number in (0, 4) else 0.8
                study.curve(study.trial(arm, "random", val_metric=end), 0.1, start, 0.8, end)
        found = analysis.frame(tmp_path, "rung_correlation")
        # Of five trials three go on; the first and the last end best.
        assert rows(found, "optimizer", "place_of_best", "kept") == [["adam", 3, True], ["sgd", 4, False]]

    def test_two_trials_have_no_row_and_equal_values_no_correlation(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        for optimizer, n in (("adam", 2), ("sgd", 3)):
            arm = study.arm(optimizer, scheduler="asha", grace_epochs=2, reduction_factor=2.0)
            for number in range(n):
                study.curve(study.trial(arm, "random", val_metric=0.5 + number / 10), 0.5, 0.6, 0.7, 0.8)
        found = analysis.frame(tmp_path, "rung_correlation")
        # All share the first place at the rung.
        assert rows(found, "optimizer", "n", "spearman", "place_of_best", "kept") == [["sgd", 3, None, 1, True]]
