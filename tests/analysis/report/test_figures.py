"""Figures hold the record's own numbers, and every optimizer looks the same everywhere."""

from itertools import combinations
from pathlib import Path

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest

from analysis import figures
from analysis.answers import Answers
from analysis.figures.boards import labels
from analysis.figures.learning_curves import learning_curve_quartiles
from analysis.figures.learning_rate import thinned
from analysis.figures.panels import Panels
from analysis.figures.ranks import _groups
from analysis.figures.scales import fenced
from analysis.figures.style import _KNOWN, SENTENCE, style
from analysis.report.bars import scale
from analysis.report.cells import cell, rows, score
from tests.analysis.report.synthetic_study import SyntheticStudy
from tests.helpers.records import SmallStudy
from tune_qat import optimizers

EXACT = 1e-12  # the same numbers, at most added and divided once


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    folder = tmp_path_factory.mktemp("figures")
    SyntheticStudy(folder, random=16, search=8)
    return Answers(folder)


def with_names(figure: go.Figure, name: str) -> list[go.Scatter]:
    return [trace for trace in figure.data if trace.name == name]


def test_no_two_optimizers_are_drawn_alike() -> None:
    assert set(_KNOWN) == set(optimizers.OPTIMIZERS)
    for one, other in combinations(map(style, _KNOWN), 2):
        # In one colour they differ in dash, for lines, and in marker, for points.
        assert one.colour != other.colour or (one.dash != other.dash and one.symbol != other.symbol)
    assert style("somebody's own") == style("somebody's own")


@pytest.mark.parametrize("name", figures.__all__)
def test_every_figure_says_what_is_missing_in_an_empty_record(tmp_path: Path, name: str) -> None:
    SmallStudy(tmp_path, "s").arm("adam")
    found = getattr(figures, name)(tmp_path)
    assert found.layout.meta[SENTENCE]


@pytest.mark.parametrize(
    "name", [name for name in figures.__all__ if name not in ("published", "critical_differences")]
)
def test_every_figure_draws_a_study_and_one_of_its_workloads(made: Answers, name: str) -> None:
    whole = getattr(figures, name)(made)
    assert isinstance(whole, go.Figure) and len(whole.data)
    assert getattr(figures, name)(made, study_id="made_up", workload="synthetic-curves").to_json() == whole.to_json()
    assert getattr(figures, name)(made, study_id="another").layout.meta[SENTENCE]


def test_means_by_bits_are_those_of_the_leaderboard(made: Answers) -> None:
    board = made.frame("leaderboard").set_index(["optimizer", "weight_bits"])
    drawn = figures.bit_widths(made)
    for name in ("adam", "sgd"):
        trace = with_names(drawn, name)[0]
        expected = [board.loc[(name, bits), "mean"] for bits in (32, 4)]
        assert list(trace.y) == pytest.approx(expected, abs=EXACT)
        # Floating point stands left of few bits.
        assert trace.x[0] < trace.x[1]


def test_every_completed_trial_is_a_point_with_its_key(made: Answers) -> None:
    trials = made.frame("tuning_scores")
    drawn = figures.learning_rate(made)
    keys = {row[0] for trace in drawn.data if trace.mode == "markers" for row in trace.customdata}
    assert keys == set(trials.loc[trials["score"].notna(), "trial_key"])


def test_of_many_trials_the_best_are_drawn() -> None:
    rng = np.random.default_rng(0)
    trials = pd.DataFrame({"score": rng.random(1000), "learning_rate": rng.random(1000), "sign": -1})
    few = thinned(trials, 40)
    assert len(few) == 40 and set(trials["score"].nsmallest(20)) <= set(few["score"])
    assert few["learning_rate"].min() < 0.05 and few["learning_rate"].max() > 0.95


def test_curves_are_medians_and_quartiles_over_seeds(made: Answers) -> None:
    table = learning_curve_quartiles(made).set_index(["weight_bits", "optimizer", "epoch"])
    raw = made.frame("learning_curves").set_index(["weight_bits", "optimizer", "epoch"])["score"]
    scores = raw.loc[(4, "sgd_agc", 9)]
    row = table.loc[(4, "sgd_agc", 9)]
    # The seed that diverged counts as the best constant prediction.
    assert row["n"] == 5 and scores.min() == 0.1
    assert [row["q25"], row["median"], row["q75"]] == pytest.approx(np.percentile(scores, [25, 50, 75]), abs=EXACT)


def test_one_trial_has_no_quartiles(tmp_path: Path) -> None:
    SyntheticStudy(tmp_path, optimizers=("adam",), bits=(4,), random=1, search=1, seeds=1)
    assert learning_curve_quartiles(tmp_path)[["q25", "q75"]].isna().all(axis=None)


def test_far_off_values_do_not_set_the_scale() -> None:
    values = pd.Series([0.90, 0.91, 0.92, 0.93, 0.11])
    low, high = fenced(values) or (0.0, 0.0)
    assert 0.89 < low < 0.90 and 0.93 < high < 0.94
    wide = fenced(values, values - 10, values + 10) or (0.0, 0.0)
    # Intervals are cut at the values' own distance beyond them.
    assert wide == pytest.approx((0.87 - 0.04 * 0.09, 0.96 + 0.04 * 0.09), abs=1e-9)
    assert fenced(pd.Series([np.nan])) is None
    on = scale(pd.Series([0.5]), pd.Series([np.nan]), pd.Series([np.nan]))
    assert on is not None and on.holds(0.5)


def test_groups_of_ranks_are_the_longest_runs_that_nothing_tells_apart() -> None:
    pairs = pd.DataFrame([("a", "c", True), ("a", "d", True), ("a", "b", False)], columns=["a", "b", "apart"])
    assert _groups(["a", "b", "c", "d"], pairs) == [(0, 1), (1, 3)]
    assert _groups(["a"], pairs.iloc[:0]) == []


def test_labels_name_what_tells_boards_apart() -> None:
    board = {"study_id": "s", "mode": "comparison", "workload": "w"}
    frame = pd.DataFrame(
        [
            {**board, "method": "none", "weight_bits": 32, "activation_bits": 32},
            {**board, "method": "lsq", "weight_bits": 4, "activation_bits": 8},
            {**board, "method": "lsq", "weight_bits": None, "activation_bits": None},
        ],
        index=[5, 6, 7],
    )
    assert labels(frame).to_dict() == {5: "32/32", 6: "4/8", 7: "any"}
    frame.loc[7, "method"], frame.loc[6, "study_id"] = "pact", "t"
    assert labels(frame).to_dict() == {5: "s 32/32", 6: "t lsq 4/8", 7: "s pact any"}


def test_panels_share_one_scale_in_rows_and_columns() -> None:
    drawn = Panels(list("abcdef"), x={"title": "x"}, y={"title": "y"}, columns=4).figure
    assert drawn.layout.xaxis6.matches == "x" and drawn.layout.yaxis5.matches == "y"
    assert drawn.layout.yaxis5.domain[1] < drawn.layout.yaxis.domain[0]
    assert [note.text for note in drawn.layout.annotations] == [f"<b>{name}</b>" for name in "abcdef"] + ["x", "y"]


def test_cells_read_as_people_write() -> None:
    values = [None, float("nan"), True, np.bool_(False), 0.123456, 1e-05, 12.0, np.int8(4), "<b>"]
    assert [cell(value) for value in values] == ["–", "–", "yes", "no", "0.12346", "1e-05", "12", "4", "<b>"]
    assert (score(0.91818, "fraction"), score(27.4143, "dB"), score(None, "dB")) == ("91.82", "27.414", "–")


def test_rows_are_capped_and_say_so() -> None:
    frame = pd.DataFrame({"study_id": "s", "unit": "dB", "metric": "psnr", "value": range(30)})
    found = rows(frame, 10, ("study_id",))
    assert (found["columns"], len(found["rows"]), found["total"]) == (["value"], 10, 30)
    assert found["metric"] == "psnr in dB"
