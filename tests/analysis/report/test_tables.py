"""The page's tables: units in the headings, numbers for people, optimizers by place."""

import math
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from analysis.answers import Answers
from analysis.report.cells import rows
from analysis.report.columns import kinds
from analysis.report.order import by_place, rate_first
from analysis.report.page import _same_reason
from tests.helpers.records import SmallStudy

BOARD = {
    "study_id": "s",
    "mode": "comparison",
    "workload": "m-d",
    "method": "lsq",
    "weight_bits": 4,
    "activation_bits": 4,
}


def table(**columns: Sequence[object]) -> pd.DataFrame:
    length = len(next(iter(columns.values())))
    return pd.DataFrame({**{name: [value] * length for name, value in BOARD.items()}, **columns})


MEASURED = {"metric": ["accuracy"] * 2, "unit": ["fraction"] * 2}


def test_scores_and_differences_have_their_unit_in_the_heading() -> None:
    made = rows(
        table(
            optimizer=["rmsprop", "sgd + adam steps"], mean=[0.98234, 0.5], ci_low=[0.98, 0.4], ci_high=[0.99, 0.6],
            gain=[0.0123456, -0.2], gain_ci_low=[0.01, -0.3], share=[0.25, 1.0], learning_rate=[0.0031623, 1e-5],
            device_s=[1234.5, math.nan], diverged=[1, 0], why=[None, None], **MEASURED,
        ),
        cap=9,
        constant=("study_id", "mode", "workload"),
    )  # fmt: skip
    assert made["columns"] == [
        *("bits", "optimizer", "mean, %", "95 % from, %", "95 % to, %", "gain, points", "gain 95 % from, points"),
        *("share, %", "learning rate", "device time, s", "diverged"),
    ]
    assert made["rows"] == [
        ["4/4", "RMSProp", "98.23", "98.00", "99.00", "1.23", "1", "25", "0.0032", "1234", "1"],
        ["4/4", "SGD + Adam steps", "50.00", "40.00", "60.00", "-20", "-30", "100", "1e-5", "–", "0"],
    ]
    assert made["metric"] == "accuracy" and made["numeric"] == [False, False, *[True] * 9]


def test_decibels_are_no_percentage_and_counts_no_share() -> None:
    made = rows(
        table(optimizer=["adam"], mean=[32.1249], difference=[0.1], failed=[2], metric=["psnr"], unit=["dB"]), 9
    )
    assert made["columns"][-3:] == ["mean, dB", "difference, dB", "failed"] and made["rows"][0][-3:] == [
        "32.12",
        "0.1",
        "2",
    ]
    assert made["metric"] == "PSNR"


def test_numbers_that_are_no_scores_stay_as_they_are() -> None:
    assert kinds(table(optimizer=["adam"], mean=[0.5])) == ["other"] * 6 + ["name", "other"], "no unit, no score"
    ratios = kinds(table(optimizer=["adam"], ratio=[1.5], score=[0.8], target=[0.9], metric=["psnr"], unit=["dB"]))
    assert ratios[-5:-2] == ["other", "other", "score"], "a score of AlgoPerf is none of the metric"
    mixed = table(optimizer=["adam", "sgd"], mean=[0.5, 32.0], metric=["accuracy", "psnr"], unit=["fraction", "dB"])
    assert rows(mixed, 9)["rows"][1][-3:] == ["32", "PSNR", "dB"], "with two units each row names its own"


@pytest.fixture(scope="module")
def placed(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    results: Path = tmp_path_factory.mktemp("placed")
    study = SmallStudy(results, "s")
    for optimizer, score in (("adam", 0.7), ("lion", 0.9), ("sgd", 0.8)):
        study.retrain(study.arm(optimizer, method="lsq"), score, score)
    return Answers(results)


def test_optimizers_stand_by_place_and_not_by_alphabet(placed: Answers) -> None:
    rows = table(optimizer=["adam", "adam", "lion", "none", "sgd"], k=[1, 2, 1, 1, 1])
    assert by_place(rows, placed)["optimizer"].tolist() == ["lion", "sgd", "adam", "adam", "none"]
    assert by_place(rows, placed)["k"].tolist() == [1, 1, 1, 2, 1], "rows of one optimizer keep their order"


def test_pairs_stand_by_both_places(placed: Answers) -> None:
    pairs = table(optimizer=["sgd", "lion", "lion"], other=["adam", "adam", "sgd"])
    found = by_place(pairs, placed)
    assert list(zip(found["optimizer"], found["other"], strict=True)) == [
        ("lion", "sgd"), ("lion", "adam"), ("sgd", "adam")
    ]  # fmt: skip


def test_an_order_of_the_tables_own_stays(placed: Answers) -> None:
    fastest = table(optimizer=["sgd", "adam", "lion"], device_s=[1.0, 2.0, 3.0])
    assert by_place(fastest, placed)["optimizer"].tolist() == ["sgd", "adam", "lion"]


def test_a_table_without_boards_has_the_order_of_all(placed: Answers) -> None:
    whole = pd.DataFrame({"optimizer": ["adam", "lion", "sgd"]})
    assert by_place(whole, placed)["optimizer"].tolist() == ["lion", "sgd", "adam"]


def test_rate_and_batch_follow_the_name() -> None:
    made = rate_first(table(optimizer=["adam"], mean=[1.0], batch_size=[8], n=[2], learning_rate=[0.1]))
    assert list(made)[-5:] == ["optimizer", "learning_rate", "batch_size", "mean", "n"]


def test_a_table_whose_rows_all_say_the_same_reason_is_that_sentence() -> None:
    table = pd.DataFrame({"optimizer": ["adam", "sgd"], "exponent": [None, None], "reason": ["too few", "too few"]})
    assert _same_reason(table) == "Nothing can be said of any: too few."
    for reasons in (["too few", None], [None, None], ["too few", "no trial"]):
        assert _same_reason(table.assign(reason=reasons)) is None
    assert _same_reason(table.drop(columns="reason")) is None
