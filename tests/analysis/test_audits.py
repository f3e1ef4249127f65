import json
import math
import random
from datetime import timedelta
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from scipy import stats

import analysis
from tests.helpers.records import SmallStudy, rows
from tests.helpers.rows import MOMENT, filled, write

EXACT = 1e-12  # a few double-precision operations on numbers near 1


def bonett_wright(r: float, n: int) -> tuple[float, float]:
    """The 95 % interval of a rank correlation."""
    half = stats.norm.ppf(0.975) * math.sqrt((1 + r * r / 2) / (n - 3))
    return math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half)


def within(values: dict[str, list[float]]) -> list[float]:
    """Ranks within each optimizer, from their middle, over its trials."""
    ranks = [(stats.rankdata(own) - (len(own) + 1) / 2) / len(own) for own in values.values()]
    return [float(rank) for own in ranks for rank in own]


class TestOscillationAndMetric:
    def test_an_optimizer_that_oscillates_more_and_ends_worse_makes_no_correlation(self, tmp_path: Path) -> None:
        study, draw = SmallStudy(tmp_path, "s"), random.Random(1)
        for optimizer, shift in (("adam", 0.0), ("sgd", 0.5)):
            arm = study.arm(optimizer)
            for _ in range(20):
                key = study.trial(arm, "search", val_metric=0.9 - shift + 0.01 * draw.random())
                study.last_epoch(key, [{"oscillation_frequency": shift + 0.01 * draw.random()}])
        row = analysis.frame(tmp_path, "oscillation_and_metric").iloc[0]
        assert pd.isna(row["optimizer"]) and row["ci_low"] < 0 < row["ci_high"] and abs(row["spearman"]) < 0.4

    @pytest.mark.parametrize("sign", [1, -1])
    def test_rank_correlation_by_optimizer_and_of_all(self, tmp_path: Path, sign: int) -> None:
        study = SmallStudy(tmp_path, "s", sign=sign)
        draw = random.Random(0)
        oscillations: dict[str, list[float]] = {}
        scores: dict[str, list[float]] = {}
        for optimizer, n in (("adam", 12), ("sgd", 4)):
            arm = study.arm(optimizer)
            for number in range(n):
                # A tie among scores; a layer of 30 weights beside one of 10.
                small, large, score = draw.random(), draw.random(), round(draw.random(), 1)
                key = study.trial(arm, ("search", "random")[number % 2], val_metric=sign * score)
                layers = [
                    {"layer": "a", "numel": 10, "oscillation_frequency": small},
                    {"layer": "b", "numel": 30, "oscillation_frequency": large},
                    {"layer": "b", "numel": 900, "kind": "activation"},
                ]
                earlier = [{**layer, "epoch": 3, "oscillation_frequency": 0.5} for layer in layers[:2]]
                study.last_epoch(key, [*layers, *earlier], val_metric=sign * score)
                oscillations.setdefault(optimizer, []).append((10 * small + 30 * large) / 40)
                scores.setdefault(optimizer, []).append(score)
            study.trial(arm, "search", "diverged")
            study.trial(arm, "retrain", "diverged")
            stopped = study.trial(arm, "search", "stopped", val_metric=sign * 0.9)
            study.last_epoch(stopped, [{"oscillation_frequency": 0.9}])
        found = analysis.frame(tmp_path, "oscillation_and_metric")
        assert rows(found, "optimizer", "n", "diverged") == [[None, 16, 2], ["adam", 12, 1], ["sgd", 4, 1]]
        pooled = [oscillations["adam"] + oscillations["sgd"], scores["adam"] + scores["sgd"]]
        of_adam = [oscillations["adam"], scores["adam"]]
        expected_of = [
            stats.pearsonr(*(within(values) for values in (oscillations, scores))).statistic * -1,
            stats.spearmanr(of_adam[0], [-score for score in of_adam[1]]).statistic,
        ]
        for row, (moved, score_of), expected in zip(found.itertuples(), (pooled, of_adam), expected_of, strict=False):
            assert row.spearman == pytest.approx(expected, abs=EXACT)
            # two quantiles of the normal distribution, good to 1e-15, and a root; of both optimizers a trial less
            fewer = row.n - pd.isna(row.optimizer)
            assert (row.ci_low, row.ci_high) == pytest.approx(bonett_wright(expected, fewer), abs=1e-12)
            assert row.oscillation == pytest.approx(sum(moved) / len(moved), abs=EXACT)
            assert row.val_metric == pytest.approx(sign * sum(score_of) / len(score_of), abs=EXACT)
        assert rows(found[2:], "ci_low", "ci_high") == [[None, None]]  # too few for an interval

    def test_one_order_throughout_has_no_interval(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        arm = study.arm("adam")
        for number in range(10):
            key = study.trial(arm, "search", val_metric=0.5 + number / 100)
            study.last_epoch(key, [{"oscillation_frequency": number / 100}])
        found = analysis.frame(tmp_path, "oscillation_and_metric")
        assert found["spearman"].tolist() == pytest.approx([-1.0] * 2, abs=EXACT)
        assert found[["ci_low", "ci_high"]].isna().all(axis=None)

    def test_equal_values_have_no_correlation_and_floating_point_no_row(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        for bits in (32, 4):
            arm = study.arm("adam", bits)
            for number in range(3):
                key = study.trial(arm, "search", val_metric=0.5 + number / 10)
                study.last_epoch(key, [{"oscillation_frequency": 0.25}])
        found = analysis.frame(tmp_path, "oscillation_and_metric")
        assert rows(found, "weight_bits", "optimizer", "n", "spearman") == [[4, None, 3, None], [4, "adam", 3, None]]


class TestIdenticalRuns:
    @staticmethod
    def trial(study: SmallStudy, arm: str, last_loss: float, stage: str = "retrain", **values: Any) -> str:
        key = study.trial(arm, stage, test_metric=0.8, **values)
        study.curve(key, 0.6, 0.8, train_loss=[0.5, last_loss], val_loss=[0.7, 0.6])
        return key

    def test_optimizers_and_seeds_that_share_a_curve(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s", sign=-1)
        sgd, clip = study.arm("sgd", best_config_id="sgd"), study.arm("sgd_clip", best_config_id="clip")
        for seed, loss in ((1, 0.25), (2, 0.125)):
            self.trial(study, sgd, loss, seed=seed, config_id="sgd")
            self.trial(study, clip, loss, seed=seed, config_id="clip")
        adam = study.arm("adam")
        for seed in (1, 2, 3):
            self.trial(study, adam, 0.375, seed=seed)
        found = analysis.frame(tmp_path, "identical_runs")
        columns = ("optimizers", "n_optimizers", "n_configurations", "n_seeds", "n", "last_train_loss", "trial_keys")
        assert rows(found, *columns) == [
            ["sgd, sgd_clip", 2, 2, 1, 2, 0.25, "t001, t002"],
            ["sgd, sgd_clip", 2, 2, 1, 2, 0.125, "t003, t004"],
            ["adam", 1, 1, 3, 3, 0.375, "t005, t006, t007"],
        ]

    def test_what_differs_in_one_bit_of_one_epoch_or_has_to_be_equal_is_absent(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        sgd, adam = study.arm("sgd", best_config_id="sgd"), study.arm("adam", best_config_id="adam")
        low = study.arm("sgd", 2, best_config_id="low")
        losses = [[0.5, 0.4, 0.25], [0.5, 0.4, math.nextafter(0.25, 1)], [0.4, 0.5, 0.25], [0.5, 0.4, 0.3, 0.25]]
        for seed, values in enumerate(losses):
            key = study.trial(adam, "retrain", seed=seed, config_id="adam")
            study.curve(key, *[0.75] * len(values), train_loss=values, val_loss=[0.5] * len(values))
        for seed, (metric, loss) in enumerate(((0.75, 0.375), (0.8, 0.5))):
            key = study.trial(sgd, "retrain", seed=seed, config_id="sgd")
            study.curve(key, *[metric] * 3, train_loss=losses[0], val_loss=[loss] * 3)
        # Another board, and the same run in another stage.
        self.trial(study, low, 0.25, seed=1, config_id="low")
        self.trial(study, sgd, 0.25, seed=1, config_id="sgd")
        self.trial(study, sgd, 0.25, "search", seed=1, config_id="sgd")
        for arm, config in ((sgd, "sgd"), (adam, "adam")):  # nothing is known of their losses
            key = study.trial(arm, "retrain", "diverged", seed=7, config_id=config)
            study.curve(key, None, train_loss=[None])
        assert not len(analysis.frame(tmp_path, "identical_runs"))


class TestEnvironments:
    def test_one_row_for_each_and_how_many_there_are(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        arm = study.arm("adam")
        study.trial(arm, "search", torch_version="2.14", device="cpu", host_hash="a")
        study.trial(
            arm, "search", "diverged", torch_version="2.14", device="cpu", host_hash="b",
            started_at=MOMENT - timedelta(days=1), finished_at=MOMENT,
        )  # fmt: skip
        study.trial(arm, "retrain", torch_version="2.13", device="cpu", host_hash="a")
        study.trial(arm, "search", torch_version="1.0", epochs=99)  # of an earlier file
        study.trial(arm, "search", "running", torch_version="1.1")
        for key, sha in (("p1", "start"), ("p2", "an earlier start")):
            start = {"stage": "pretrain", "status": "completed", "checkpoint_sha256": sha, "torch_version": "2.12"}
            write(tmp_path, "s", "trials", key, filled("trials", trial_key=key, **start))
        worsened = json.dumps({"worsening": {"within": 0.1}})  # trains nothing, and has no backend
        start = {"stage": "pretrain", "status": "completed", "checkpoint_sha256": "start", "params_json": worsened}
        write(tmp_path, "s", "trials", "p3", filled("trials", trial_key="p3", torch_version="2.12", **start))
        other = SmallStudy(tmp_path, "t")
        other.trial(other.arm("adam"), "search", torch_version="2.14")
        found = analysis.frame(tmp_path, "environments")
        assert rows(found.sort_values(["study_id", "torch_version"]), "study_id", "torch_version", "n", "hosts") == [
            ["s", "2.12", 1, 0], ["s", "2.13", 1, 1], ["s", "2.14", 2, 2], ["t", "2.14", 1, 0]
        ]  # fmt: skip
        assert found["environments"].tolist() == [3, 3, 3, 1]
        assert found["n"].tolist()[0] == 2
        assert found["first_started"][0] == (MOMENT - timedelta(days=1)).replace(tzinfo=None)


class TestPublished:
    @pytest.mark.parametrize("sign", [1, -1])
    def test_our_means_stand_beside_published_numbers_in_our_unit(self, tmp_path: Path, sign: int) -> None:
        study = SmallStudy(tmp_path, "s", sign=sign)
        dogs: dict[str, Any] = {
            "workload": "resnet18-tsinghua_dogs",
            "metric": "accuracy",
            "unit": "fraction",
            "quantizer": "lsq",
        }
        study.retrain(study.arm("adagrad", **dogs), 0.6, None, 0.7)
        study.arm("lion", **dogs)
        found = analysis.frame(tmp_path, "published").set_index("optimizer")
        row = found.loc["adagrad"]
        assert (row["published"], row["value"], row["published_unit"]) == (
            pytest.approx(0.04615, abs=EXACT),
            4.615,
            "percent",
        )
        assert row["mean"] == pytest.approx((0.6 + 0.4 + 0.7) / 3, abs=EXACT)
        assert (row["n"], row["unit"], row["trivial"], row["published_method"]) == (3, "fraction", 0.4, "LSQ")
        assert len(found) == 10 and (found.loc["lion", "n"], found.loc["sgd", "n"]) == (0, 0)
        assert found["mean"].notna().sum() == 1

    def test_numbers_stand_beside_boards_of_their_bits_and_say_whether_of_their_method(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        for bits, quantizer in ((32, "none"), (4, "dorefa"), (4, "lsq")):
            arm = study.arm("adam", bits, quantizer=quantizer, arm_id=f"{quantizer}{bits}", workload="lenet5-mnist")
            study.retrain(arm, 0.9)
        found = analysis.frame(tmp_path, "published")
        # As printed in the published table.
        assert rows(found[found["weight_bits"] == 4], "method", "published_method", "same_method", "value", "n") == [
            ["dorefa", "DoReFa-Net", True, 99.68, 1], ["dorefa", "QNN", False, 99.55, 1],
            ["lsq", "DoReFa-Net", False, 99.68, 1], ["lsq", "QNN", False, 99.55, 1],
        ]  # fmt: skip
        control = found[found["weight_bits"] == 32]
        assert rows(control, "published_method", "optimizer", "value", "n") == [
            ["QNN", "adam", 99.69, 1], ["DoReFa-Net", "adam", 99.67, 1], ["TWN", "adam", 99.63, 1],
            ["Baseline", "sgd_momentum", 99.59, 0],
        ]  # fmt: skip

    def test_a_source_without_bits_stands_beside_quantized_boards_alone(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        for bits in (32, 4, 2):
            study.arm("adam", bits, quantizer="lsq" if bits < 32 else "none", workload="espcn-div2k", metric="psnr")
        found = analysis.frame(tmp_path, "published")
        assert found["weight_bits"].value_counts().to_dict() == {4: 10, 2: 10}

    def test_another_workload_or_metric_has_no_row(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        study.arm("adam")
        study.arm("sgd", workload="espcn-div2k", metric="ssim")
        assert not len(analysis.frame(tmp_path, "published"))
