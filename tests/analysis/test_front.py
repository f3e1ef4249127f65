"""The question `front`, on a small record whose front is known, and what else looks at its points."""

import json
from pathlib import Path
from typing import Any

import pytest

import analysis
from analysis.report.answer import answer
from analysis.stats import verdicts
from tests.analysis.test_cost import costs
from tests.helpers.records import SmallStudy
from tests.helpers.rows import filled, write
from tune_qat.cli.status_text import describe as status

SCHEMES = (("lsq", 8, 80, 640), ("lsq", 4, 40, 160), ("lsq", 3, 30, 90), ("lsq", 2, 20, 40))
SEARCHED = {"c8": (8, 0.90), "c4": (4, 0.85), "c3": (3, 0.86), "c2": (2, 0.6), "lazy": (4, 0.7)}


def of_metric(score: float, sign: int) -> float:
    return score if sign > 0 else 1 - score


def record(results: Path, *, sign: int = 1, chosen: list[str] | None = None) -> SmallStudy:
    """A search over bits: 3 bits dominate 4, and 2 bits are the cheapest."""
    study = SmallStudy(results, "s", sign=sign, mode="joint")
    arm = study.arm(
        None,
        arm_id="joint-bits",
        weight_bits=None,
        activation_bits=None,
        method="lsq",
        trivial_score=of_metric(0.5, sign),
        trivial_test_score=of_metric(0.4, sign),
        objectives_json=json.dumps(["accuracy" if sign > 0 else "error", "weight_bytes"]),
        best_config_id="c8" if chosen else None,
        front_config_ids_json=json.dumps(chosen) if chosen else None,
    )
    for config, (bits, score) in SEARCHED.items():
        searched: dict[str, Any] = {"weight_bits": bits, "activation_bits": bits, "config_id": config}
        searched["optimizer"] = "adam"
        study.trial(arm, "search", val_metric=of_metric(score, sign), learned=True, **searched)
    idle: dict[str, Any] = {"weight_bits": 2, "activation_bits": 2, "optimizer": "sgd", "config_id": "idle"}
    study.trial(arm, "search", "diverged", **idle)
    costs(study, *SCHEMES)
    return study


def again(study: SmallStudy, config: str, *scores: float) -> None:
    bits, sign = SEARCHED[config][0], study.sign
    for seed, score in enumerate(scores):
        values: dict[str, Any] = {"weight_bits": bits, "activation_bits": bits, "optimizer": "adam", "seed": seed}
        metric = of_metric(score, sign)
        study.trial("joint-bits", "retrain", config_id=config, val_metric=metric, test_metric=metric, **values)


@pytest.mark.parametrize("sign", [1, -1])
def test_the_points_are_those_that_nothing_dominates(tmp_path: Path, sign: int) -> None:
    record(tmp_path, sign=sign)
    found = analysis.frame(tmp_path, "front")
    assert list(found["config_id"]) == ["c8", "c3", "c2"]
    assert list(found["weight_bytes"]) == [80, 30, 20] and not found["chosen"].any() and not found["n"].any()
    write(tmp_path, "s", "studies", "study", filled("studies", complete=True))
    assert "the front has 3 points" in status(tmp_path)


@pytest.mark.parametrize("sign", [1, -1])
def test_a_point_that_fresh_seeds_put_behind_another_does_not_hold(tmp_path: Path, sign: int) -> None:
    study = record(tmp_path, sign=sign, chosen=["c8", "c3"])
    again(study, "c8", 0.8, 0.82, 0.84)
    assert analysis.frame(tmp_path, "front")["holds"].isna().all(), "one of the chosen is not trained again yet"
    again(study, "c3", 0.84, 0.85, 0.86)
    again(study, "c4", 0.9, 0.9, 0.9)  # no choice of the arm any more
    found = analysis.frame(tmp_path, "front").set_index("config_id")
    assert found.loc["c8", "holds"] == False and found.loc["c3", "holds"] == True  # noqa: E712
    assert found["holds"].isna()["c2"] and not found.loc["c2", "chosen"]
    assert found.loc["c3", "mean"] == pytest.approx(of_metric(0.85, sign))
    # Student's t of 2 degrees of freedom: 0.85 -+ 4.3027 x 0.01 / sqrt(3)
    assert found.loc["c3", "ci_high"] - found.loc["c3", "mean"] == pytest.approx(4.3027 * 0.01 / 3**0.5, rel=1e-4)
    assert list(found["n"]) == [3, 3, 0]
    board = analysis.frame(tmp_path, "leaderboard")
    assert set(board["weight_bits"]) == {8, 3}, "seeds of what is not chosen do not count"
    points = analysis.frame(tmp_path, "pareto").set_index("weight_bits")
    assert set(points.index) == {8, 3}


def test_nothing_is_asked_of_a_study_with_one_objective(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path, "s")
    study.trial(study.arm("adam", 4), "search", val_metric=0.9)
    costs(study, ("lsq", 4, 40, 160))
    assert not len(analysis.frame(tmp_path, "front"))


def test_the_page_opens_with_a_line_for_each_point(tmp_path: Path) -> None:
    study = record(tmp_path, chosen=["c8", "c3"])
    again(study, "c8", 0.9, 0.91)
    again(study, "c3", 0.85, 0.86)
    ((one),) = answer(analysis.answers(tmp_path))
    labels = [line["label"] for line in one["lines"]]
    assert labels[:2] == ["8/8 bits", "3/3 bits"] and "4/4 bits" not in labels
    assert "has the point of the front at these bits" in one["lines"][0]["head"].said
    (said,) = (row.sentence for row in verdicts(tmp_path))
    assert said == "One search went over all optimizers, so this is the front it found and no ranking of them."


def test_edges_are_those_of_each_point(tmp_path: Path) -> None:
    study = record(tmp_path, chosen=["c8", "c2"])
    study.trial(
        "joint-bits", "search", val_metric=0.88, config_id="sgd", optimizer="sgd", weight_bits=8, activation_bits=8
    )
    found = analysis.frame(tmp_path, "edge_of_range")
    rates = found[found["dimension"] == "learning_rate"]
    assert sorted(zip(rates["optimizer"], rates["weight_bits"], strict=True)) == [("adam", 2), ("adam", 8), ("sgd", 8)]
