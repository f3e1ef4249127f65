import json
import math
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

import analysis.stats as stats_of
from analysis.stats.images import crossed
from analysis.stats.intervals import TOO_FEW, TWO_HUMPS
from tests.helpers.records import SmallStudy

TIGHT = 1e-9  # sums of some ten numbers near 1


def plain(table: list[list[float]]) -> tuple[float, float, float]:
    """Interval of the mean by loops over rows and columns."""
    rows, columns = len(table), len(table[0])
    mean = sum(map(sum, table)) / (rows * columns)
    row_means = [sum(row) / columns for row in table]
    column_means = [sum(row[j] for row in table) / rows for j in range(columns)]
    ms_rows = columns * sum((value - mean) ** 2 for value in row_means) / (rows - 1)
    ms_columns = rows * sum((value - mean) ** 2 for value in column_means) / (columns - 1)
    rest = sum((table[i][j] - row_means[i] - column_means[j] + mean) ** 2 for i in range(rows) for j in range(columns))
    ms_rest = rest / ((rows - 1) * (columns - 1))
    whole = ms_rows + ms_columns - ms_rest
    terms = ms_rows**2 / (rows - 1) + ms_columns**2 / (columns - 1) + ms_rest**2 / ((rows - 1) * (columns - 1))
    half = stats.t.ppf(0.975, whole**2 / terms) * math.sqrt(whole / (rows * columns))
    return mean, mean - half, mean + half


def test_interval_is_that_of_the_plain_twin() -> None:
    rng = np.random.default_rng(0)
    table = 0.3 + rng.standard_normal((5, 1)) + rng.standard_normal(8) + 0.5 * rng.standard_normal((5, 8))
    found = crossed(table)
    assert (found.difference, found.ci_low, found.ci_high) == pytest.approx(plain(table.tolist()), abs=TIGHT)


def test_images_that_are_alike_leave_the_t_interval_over_repetitions() -> None:
    rows = np.random.default_rng(1).standard_normal(6)
    found = crossed(np.tile(rows[:, None], (1, 4)))
    interval = stats.ttest_1samp(rows, 0).confidence_interval(0.95)
    assert (found.ci_low, found.ci_high, found.df) == pytest.approx((interval.low, interval.high, 5), abs=TIGHT)


@pytest.mark.parametrize(("tau", "images"), [(1.0, 0.0), (0.0, 1.0), (1.0, 1.0)])
def test_interval_covers_a_known_difference(tau: float, images: float) -> None:
    # Six repeats x ten images: within three standard errors of a share of 600; cautious where one source has no spread.
    rng = np.random.default_rng([int(tau), int(images)])
    held = 0
    for _ in range(600):
        table = tau * rng.standard_normal((6, 1)) + images * rng.standard_normal(10) + rng.standard_normal((6, 10))
        found = crossed(table)
        held += found.ci_low <= 0 <= found.ci_high
    assert 0.923 <= held / 600 <= 0.985


def test_seeds_alone_do_not_cover_other_images() -> None:
    # What the interval over repeats of the same images would claim, on the same made-up studies.
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(300):
        table = rng.standard_normal(2) + 0.2 * rng.standard_normal((6, 2))
        interval = stats.ttest_1samp(table.mean(axis=1), 0).confidence_interval(0.95)
        held += interval.low <= 0 <= interval.high
    assert held / 300 < 0.3


class TestThroughResults:
    @pytest.mark.parametrize("sign", [1, -1])
    def test_images_of_each_seed_are_paired(self, tmp_path: Path, sign: int) -> None:
        rng = np.random.default_rng(2)
        study, cubes = SmallStudy(tmp_path, "s", sign=sign), {}
        for optimizer, lead in (("adam", 0.5), ("sgd", 0.0)):
            cubes[optimizer] = (
                lead + rng.standard_normal((4, 1)) + 2 * rng.standard_normal(6) + rng.standard_normal((4, 6))
            )
            arm = study.arm(optimizer)
            for seed, images in enumerate(sign * cubes[optimizer]):
                listed = [*images, None if seed == 1 and optimizer == "sgd" else 1.0]
                study.trial(arm, "retrain", seed=seed, test_metric=0.8, test_images_json=json.dumps(listed))
        (row,) = stats_of.differences_over_images(tmp_path).to_dict("records")
        difference, low, high = plain((cubes["adam"] - cubes["sgd"]).tolist())
        assert [row["difference"], row["ci_low"], row["ci_high"]] == pytest.approx([difference, low, high], abs=TIGHT)
        assert (row["optimizer"], row["repetitions"], row["images"]) == ("adam", 4, 6), "one image has no finite metric"

    def test_one_seed_or_two_humps_have_no_interval(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        images = json.dumps([1.0, 2.0])
        for optimizer, seeds in (("adam", 2), ("sgd", 1), ("lion", 1)):
            arm = study.arm(optimizer)
            for seed in range(seeds):
                study.trial(arm, "retrain", seed=seed, test_metric=0.8, test_images_json=images)
        study.trial("lion-w4a4", "retrain", seed=1, test_metric=0.4, learned=False, test_images_json=images)
        found = stats_of.differences_over_images(tmp_path).set_index(["optimizer", "other"])["why"].to_dict()
        assert sorted(found.values()) == sorted([TOO_FEW, TWO_HUMPS, TWO_HUMPS])

    def test_without_single_images_there_is_no_row(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        study.retrain(study.arm("adam"), 0.8, 0.9)
        assert stats_of.differences_over_images(tmp_path).empty
