"""The question `calibration`, against numbers computed by hand from a small record, and its figure."""

import json
import statistics
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from scipy import stats

import analysis
from analysis import figures
from analysis.report.board import leaderboards, standing
from analysis.stats.calibrated import with_calibrated
from tests.helpers.records import SmallStudy
from tests.helpers.rows import filled
from tune_qat.cli.run_summary import _boards

EXACT = 1e-12  # a few double-precision operations on numbers near 1
INTERVAL = 1e-10  # two implementations of Student's quantile
START, CALIBRATED = 0.90, {1: 0.60, 2: 0.50, 3: 0.70}
TRAINED = {1: 0.80, 2: 0.85, 3: 0.90}


def scheme_of(bits: int) -> dict[str, Any]:
    return {"ste": "clip_then_round", "first_last_bits": 8, "weight_bits": bits}


def calibrated(study: SmallStudy, bits: int, score: float | None, **values: Any) -> None:
    """A row of the stage; without a score one whose metric was not finite."""
    known = {"seed": 0, "batch_size": 32, "quantizer": "none" if bits == 32 else "lsq", "epochs": 0}
    params = {"scheme": values.pop("scheme", scheme_of(bits)), "calibration_batches": values.pop("batches", 1)}
    key = f"c{bits}-{len(list(Path(str(study.results)).rglob('c*.parquet')))}"
    more: dict[str, Any] = {"init_checkpoint_sha256": "start", "workload": "m-d", **known, **values}
    row = filled("trials", trial_key=key, arm_id="calibrated", stage="calibrated", **more)
    row |= {
        "status": "completed" if score is not None else "diverged",
        "test_metric": None if score is None else study.sign * score,
        "params_json": json.dumps(params),
        "weight_bits": bits,
        "activation_bits": bits,
        "optimizer": None,
        "learning_rate": None,
    }
    study._write("trials", key, row)


def record(results: Path, *, sign: int = 1, **arms: Any) -> SmallStudy:
    """Two arms, at 32/32 and at 4/4, with three seeds; nothing of the stage yet."""
    study = SmallStudy(results, "s", sign=sign)
    for bits, scores in ((32, {1: 0.91, 2: 0.92, 3: 0.93}), (4, TRAINED)):
        quantizer, trivial = "none" if bits == 32 else "lsq", {"trivial_test_score": sign * 0.4}
        arm = study.arm("adam", bits, quantizer=quantizer, margin=0.01, **trivial, **arms)
        for seed, score in scores.items():
            params = json.dumps({"scheme": scheme_of(bits)})
            study.trial(arm, "retrain", seed=seed, test_metric=sign * score, params_json=params)
    return study


def whole(results: Path, **values: Any) -> SmallStudy:
    study = record(results, **values)
    calibrated(study, 32, START)
    for seed, score in CALIBRATED.items():
        calibrated(study, 4, score, seed=seed)
    return study


def answer(results: Path, bits: int = 4) -> Any:
    found = analysis.frame(results, "calibration").set_index("weight_bits")
    return found.loc[bits]


@pytest.mark.parametrize("sign", [1, -1])
def test_cost_and_what_is_won_back_are_paired_by_seed(tmp_path: Path, sign: int) -> None:
    whole(tmp_path, sign=sign)
    found = answer(tmp_path)
    won = [TRAINED[seed] - CALIBRATED[seed] for seed in CALIBRATED]
    interval = stats.ttest_1samp(won, 0).confidence_interval(0.95)
    assert found["n"] == 3
    assert sign * found["start"] == pytest.approx(START, abs=EXACT)
    assert sign * found["calibrated"] == pytest.approx(statistics.mean(CALIBRATED.values()), abs=EXACT)
    assert sign * found["trained"] == pytest.approx(statistics.mean(TRAINED.values()), abs=EXACT)
    assert found["cost"] == pytest.approx(0.30, abs=EXACT)
    assert found["won"] == pytest.approx(statistics.mean(won), abs=EXACT)
    assert (found["won_ci_low"], found["won_ci_high"]) == pytest.approx((interval.low, interval.high), abs=INTERVAL)
    assert found["recovered"] == pytest.approx(0.25 / 0.30, abs=EXACT)


def test_at_32_bits_it_is_over_the_start(tmp_path: Path) -> None:
    whole(tmp_path)
    found = answer(tmp_path, 32)
    assert (found["start"], found["calibrated"], found["cost"]) == (START, START, 0)
    assert found["won"] == pytest.approx(0.02, abs=EXACT) and pd.isna(found["recovered"])


@pytest.mark.parametrize(
    "other",
    [
        {"batch_size": 64},
        {"seed": 9},
        {"init_checkpoint_sha256": "other"},
        {"scheme": {**scheme_of(4), "options": {"per_channel": True}}},
        {"batches": 8},
        {"data_fingerprint": "other"},
        {"split_fingerprint": "other"},
    ],
    ids=lambda other: next(iter(other)),
)
def test_a_model_that_no_trial_began_with_is_left_out(tmp_path: Path, other: dict[str, Any]) -> None:
    study = record(tmp_path)
    calibrated(study, 4, 0.6, **{"seed": 1, **other})
    assert not len(analysis.frame(tmp_path, "calibration"))


def test_a_metric_that_is_not_finite_is_the_trivial_score(tmp_path: Path) -> None:
    study = record(tmp_path)
    calibrated(study, 4, None, seed=2)
    found = answer(tmp_path)
    assert (found["n"], found["calibrated"]) == (1, 0.4) and pd.isna(found["start"]) and pd.isna(found["won_ci_low"])


def test_a_study_without_the_stage_has_no_answer_and_the_figure_says_so(tmp_path: Path) -> None:
    record(tmp_path)
    assert not len(analysis.frame(tmp_path, "calibration"))
    assert "stages.calibrated" in figures.calibration(tmp_path).to_json()


def test_the_figure_has_a_point_for_each_of_the_three(tmp_path: Path) -> None:
    whole(tmp_path)
    drawn = {
        trace.name: [value for value in trace.y if value is not None] for trace in figures.calibration(tmp_path).data
    }
    assert drawn["floating point"] == pytest.approx([START], abs=EXACT)
    assert drawn["calibrated only"] == pytest.approx([0.6], abs=EXACT)
    assert drawn["Adam"] == pytest.approx([0.92, 0.85], abs=EXACT)


def test_both_stand_beside_the_leaderboard(tmp_path: Path) -> None:
    whole(tmp_path)
    asked = analysis.Answers(tmp_path)
    head = _boards(with_calibrated(asked.frame("leaderboard"), asked), named=False)
    assert "floating-point start 90.0 %" in head[0] and "calibrated only" not in head[0]
    assert "floating-point start 90.0 %, calibrated only 60.0 %" in head[1]
    tables = leaderboards(standing(asked))
    assert "calibrated only" in str(tables[1]) and "calibrated only" not in str(tables[0])
    without = tmp_path / "without"
    record(without)
    asked = analysis.Answers(without)
    assert "floating-point" not in _boards(with_calibrated(asked.frame("leaderboard"), asked), named=False)[0]
