"""The questions `cost` and `pareto`, on small records whose front is known, and the figure."""

import json
from pathlib import Path
from typing import Any

import pytest

import analysis
from analysis import figures
from tests.analysis.test_calibration import calibrated, scheme_of
from tests.helpers.records import SmallStudy

Points = dict[tuple[int, str], str]


def costs(study: SmallStudy, *schemes: tuple[str, int, int, int]) -> None:
    """Rows of two layers, half and half, for each scheme: method, bits, bytes, bit operations."""
    rows = [
        {"method": method, "weight_bits": bits, "activation_bits": bits, "layer": layer, "layer_index": number}
        | {"type": "Linear", "weight_width": bits, "input_width": bits, "parameters": 5, "macs": 10}
        | {"weight_bytes": size // 2, "stored_bytes": size, "activation_bytes": 3 + number}
        | {"bit_operations": operations // 2}
        for method, bits, size, operations in schemes
        for number, layer in enumerate(("one", "two"))
    ]
    study._write("costs", "costs", *rows)


def of_metric(score: float, sign: int) -> float:
    """An accuracy, or where the metric is better the smaller the error that goes with it."""
    return score if sign > 0 else 1 - score


def record(results: Path, scores: dict[int, tuple[float, float, float]], *, sign: int = 1) -> SmallStudy:
    """An arm at each of these bits with three retrain seeds."""
    study = SmallStudy(results, "s", sign=sign)
    for bits, values in scores.items():
        quantizer = "none" if bits == 32 else "lsq"
        arm = study.arm("adam", bits, quantizer=quantizer, method=quantizer, trivial_test_score=of_metric(0.1, sign))
        params = json.dumps({"scheme": scheme_of(bits)})
        for seed, score in enumerate(of_metric(value, sign) for value in values):
            study.trial(arm, "retrain", seed=seed, val_metric=score, test_metric=score, params_json=params)
    return study


def standings(results: Path, column: str) -> Points:
    found = analysis.frame(results, "pareto")
    return {(row.weight_bits, row.point): getattr(row, column) for row in found.itertuples()}


@pytest.mark.parametrize("sign", [1, -1])
def test_points_are_told_apart_by_whole_intervals(tmp_path: Path, sign: int) -> None:
    """Of four schemes that of 8 bits is heavier than that of 4 and worse; that of 2 overlaps with that of 3."""
    scores = {
        32: (0.95, 0.95, 0.951),
        8: (0.80, 0.80, 0.801),
        4: (0.90, 0.90, 0.901),
        2: (0.5, 0.6, 0.7),
        3: (0.5, 0.5, 0.7),
    }
    study = record(tmp_path, scores, sign=sign)
    costs(
        study, ("none", 32, 320, 9000), ("lsq", 8, 80, 640), ("lsq", 4, 40, 160), ("lsq", 3, 30, 90), ("lsq", 2, 20, 40)
    )
    assert standings(tmp_path, "by_bytes") == {
        (32, "trained"): "front",
        (8, "trained"): "dominated",
        (4, "trained"): "front",
        (3, "trained"): "cannot be told apart",
        (2, "trained"): "front",
    }
    found = analysis.frame(tmp_path, "pareto").set_index("weight_bits")
    assert found.loc[8, "weight_bytes"] == 80 and found.loc[8, "bit_operations"] == 640
    assert list(found.index) == [32, 8, 4, 3, 2], "the heaviest first"


def test_bytes_and_operations_are_judged_apart(tmp_path: Path) -> None:
    study = record(tmp_path, {8: (0.80, 0.80, 0.801), 4: (0.90, 0.90, 0.901)})
    costs(study, ("lsq", 8, 80, 100), ("lsq", 4, 40, 160))
    assert standings(tmp_path, "by_bytes")[8, "trained"] == "dominated"
    assert standings(tmp_path, "by_bit_operations")[8, "trained"] == "front"


def test_a_calibrated_model_is_a_point_of_its_own(tmp_path: Path) -> None:
    study = record(tmp_path, {32: (0.95, 0.95, 0.951), 4: (0.90, 0.90, 0.901)})
    costs(study, ("none", 32, 320, 9000), ("lsq", 4, 40, 160))
    calibrated(study, 32, 0.94)
    for seed, score in enumerate((0.70, 0.71, 0.72)):
        calibrated(study, 4, score, seed=seed)
    points = standings(tmp_path, "by_bytes")
    assert points[4, "calibrated only"] == "dominated" and points[4, "trained"] == "front"
    assert points[32, "start"] == "cannot be told apart", "one model without an interval"
    row = analysis.frame(tmp_path, "pareto").query("point == 'calibrated only'").iloc[0]
    assert row["mean"] == pytest.approx(0.71) and row["n"] == 3  # a sum of three numbers
    drawn = figures.pareto(tmp_path)
    labels = {trace.text[0] for trace in drawn.data if trace.mode == "markers+text"}
    assert labels == {"32/32", "32/32 start", "4/4", "4/4 calibrated only"}
    faint = {trace.text[0] for trace in drawn.data if trace.mode == "markers+text" and trace.marker.opacity < 1}
    assert faint == {"4/4 calibrated only"}


def test_calibrated_models_of_two_methods_at_the_same_bits_are_told_apart(tmp_path: Path) -> None:
    """One quantizer both times, as with bits of each layer's own: the scheme alone says which is which."""
    study = record(tmp_path, {4: (0.90, 0.90, 0.901)})
    scheme = {**scheme_of(4), "layer_bits": {"conv2": [6, 6]}}
    arm = study.arm("sgd", 4, quantizer="lsq", method="mixed-hessian-4.0", trivial_test_score=0.1)
    for seed in range(3):
        params = json.dumps({"scheme": scheme})
        study.trial(arm, "retrain", seed=seed, val_metric=0.93, test_metric=0.93, params_json=params)
    costs(study, ("lsq", 4, 40, 160), ("mixed-hessian-4.0", 4, 38, 170))
    calibrated(study, 4, 0.7)
    calibrated(study, 4, 0.8, scheme=scheme)
    found = analysis.frame(tmp_path, "pareto").query("point == 'calibrated only'").set_index("method")
    assert found["mean"].to_dict() == {"lsq": 0.7, "mixed-hessian-4.0": 0.8} and (found["n"] == 1).all()


def test_scores_are_those_of_the_leaderboard(tmp_path: Path) -> None:
    """Also where an interval would reach beyond 1; the arm is the one that is better on validation data."""
    study = record(tmp_path, {32: (0.99, 0.999, 1.0), 4: (0.90, 0.92, 0.97)})
    arm = study.arm("sgd", 4, quantizer="lsq", method="lsq", trivial_test_score=0.1)
    for seed, score in enumerate((0.5, 0.6, 0.4)):
        study.trial(arm, "retrain", seed=seed, val_metric=0.99, test_metric=score)
    costs(study, ("none", 32, 320, 9000), ("lsq", 4, 40, 160))
    points = analysis.frame(tmp_path, "pareto")
    board = analysis.frame(tmp_path, "leaderboard")
    found = points.merge(board, on=["weight_bits", "optimizer"], suffixes=("", "_board"))
    assert list(found["optimizer"]) == ["adam", "sgd"]
    for column in ("mean", "ci_low", "ci_high", "n"):
        # Sums of three numbers near 1 in another order.
        assert list(found[column]) == pytest.approx(list(found[f"{column}_board"]), rel=1e-12)
    assert points["ci_high"].max() == 1


def test_a_failed_trial_counts_as_the_trivial_score_and_gives_no_interval(tmp_path: Path) -> None:
    study = record(tmp_path, {8: (0.80, 0.80, 0.801)})
    arm = study.arm("sgd", 4, quantizer="lsq", method="lsq", trivial_test_score=0.1)
    study.trial(arm, "retrain", seed=0, val_metric=0.9, test_metric=0.9)
    study.trial(arm, "retrain", seed=1, status="diverged", val_metric=None, test_metric=None)
    costs(study, ("lsq", 8, 80, 100), ("lsq", 4, 40, 160))
    row = analysis.frame(tmp_path, "pareto").set_index("weight_bits").loc[4]
    assert row["mean"] == pytest.approx(0.5) and row.isna()["ci_low"]  # (0.9 + 0.1) / 2


def test_sums_are_over_the_layers_of_a_scheme(tmp_path: Path) -> None:
    study = record(tmp_path, {32: (0.9, 0.9, 0.9), 4: (0.8, 0.8, 0.8)})
    costs(study, ("none", 32, 320, 9000), ("lsq", 4, 40, 160))
    found: Any = analysis.frame(tmp_path, "cost").set_index("weight_bits")
    assert list(found.loc[4, ["parameters", "macs", "weight_bytes", "stored_bytes"]]) == [10, 20, 40, 80]
    assert found.loc[4, "activation_bytes"] == 4, "the largest of a layer"
    assert found.loc[4, "float_share"] == 0 and found.loc[32, "float_share"] == 1


def test_without_costs_there_is_a_sentence(tmp_path: Path) -> None:
    record(tmp_path, {4: (0.8, 0.8, 0.8)})
    assert not len(analysis.frame(tmp_path, "pareto")) and not len(analysis.frame(tmp_path, "cost"))
    assert "tune-qat cost" in figures.pareto(tmp_path).layout.annotations[0].text
