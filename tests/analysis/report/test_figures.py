"""Figures hold the record's own numbers, and every optimizer looks the same everywhere."""

import math
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import pytest
from scipy.optimize import minimize

from analysis import figures
from analysis.answers import Answers
from analysis.figures.arranged import arranged
from analysis.figures.boards import labels
from analysis.figures.direct import apart
from analysis.figures.layers import Quantity, _heatmaps
from analysis.figures.learning_curves import learning_curve_quartiles
from analysis.figures.learning_rate import thinned
from analysis.figures.palette import _KNOWN, style
from analysis.figures.panels import Panels
from analysis.figures.ranks import _groups
from analysis.figures.rates import defaults_apart, over, ticks
from analysis.figures.style import SENTENCE
from analysis.report.bars import scale
from analysis.report.cells import cell, rows
from analysis.stats.scales import fenced
from tests.analysis.report.synthetic_study import SyntheticStudy
from tests.helpers.records import SmallStudy
from tune_qat import optimizers
from tune_qat.text.names import shown

EXACT = 1e-12  # the same numbers, at most added and divided once


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    folder = tmp_path_factory.mktemp("figures")
    SyntheticStudy(folder, random=16, search=8)
    return Answers(folder)


def with_names(figure: go.Figure, name: str) -> list[go.Scatter]:
    return [trace for trace in figure.data if trace.name == name]


PUBLISHED = ("adam", "adamw", "rmsprop", "adagrad", "adadelta", "sgd", "nesterov", "lion", "sgd_clip", "sgd_agc")
"""Optimizers of the published studies, which stand in one figure."""
VISIONS = {
    # Machado, Oliveira and Fernandes, IEEE TVCG 15 (2009), table of severity 1.
    "all cones": [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
    "no L": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "no M": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "no S": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]],
}


def linear(colour: str) -> Any:
    parts = np.array([int(colour[at : at + 2], 16) for at in (1, 3, 5)]) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def oklab(light: Any) -> Any:
    """Ottosson's OKLab of linear sRGB, in which a distance of 0.02 is about what is just noticed."""
    cones = np.cbrt(
        np.clip(light, 0, 1)
        @ np.array([[0.41222, 0.21190, 0.08830], [0.53633, 0.68070, 0.28172], [0.05145, 0.10740, 0.62998]])
    )
    return cones @ np.array([[0.21045, 1.97800, 0.02590], [0.79362, -2.42859, 0.78277], [-0.00407, 0.45059, -0.80868]])


def test_no_two_optimizers_are_drawn_alike() -> None:
    assert set(_KNOWN) == set(optimizers.OPTIMIZERS)
    for one, other in combinations(map(style, _KNOWN), 2):
        assert (one.colour, one.symbol) != (other.colour, other.symbol)
    assert style("somebody's own") == style("somebody's own")
    # Who moves the quantizers' parameters is no other colour.
    assert style("sgd + adam steps").colour == style("sgd").colour
    assert style("sgd + adam steps") != style("sgd")


@pytest.mark.parametrize("vision", VISIONS)
def test_colours_of_the_published_studies_are_told_apart(vision: str) -> None:
    seen = {name: linear(style(name).colour) @ np.array(VISIONS[vision]).T for name in PUBLISHED}
    for one, other in combinations(PUBLISHED, 2):
        # Four times what is just noticed: points are small.
        assert np.linalg.norm(oklab(seen[one]) - oklab(seen[other])) > 0.08, (one, other)


def test_colours_stand_out_on_white() -> None:
    for name in _KNOWN:
        luminance = linear(style(name).colour) @ [0.2126, 0.7152, 0.0722]
        assert 1.05 / (luminance + 0.05) >= 3, name  # WCAG 2.2, 1.4.11


@pytest.mark.parametrize("name", figures.__all__)
def test_every_figure_says_what_is_missing_in_an_empty_record(tmp_path: Path, name: str) -> None:
    SmallStudy(tmp_path, "s").arm("adam")
    found = getattr(figures, name)(tmp_path)
    assert found.layout.meta[SENTENCE]


@pytest.mark.parametrize(
    "name", [name for name in figures.__all__ if name not in ("published", "critical_differences", "calibration")]
)
def test_every_figure_draws_a_study_and_one_of_its_workloads(made: Answers, name: str) -> None:
    whole = getattr(figures, name)(made)
    assert isinstance(whole, go.Figure) and len(whole.data)
    assert getattr(figures, name)(made, study_id="made_up", workload="synthetic-curves").to_json() == whole.to_json()
    assert getattr(figures, name)(made, study_id="another").layout.meta[SENTENCE]


def test_means_by_bits_are_those_of_the_leaderboard(made: Answers) -> None:
    board = made.frame("leaderboard").set_index(["optimizer", "weight_bits"])
    drawn = figures.bit_widths(made)
    for key, name in (("adam", "Adam"), ("sgd", "SGD")):
        trace = with_names(drawn, name)[0]
        expected = [board.loc[(key, bits), "mean"] for bits in (32, 4)]
        assert [row[4] for row in trace.customdata] == pytest.approx(expected, abs=EXACT)
        # Floating point stands left of few bits.
        assert trace.x[0] < trace.x[1]


def test_lines_by_bits_cross_only_where_the_order_changes(made: Answers) -> None:
    lines = [trace for trace in figures.bit_widths(made).data if trace.mode == "lines"]
    assert len(lines) == 5
    for one, other in combinations(lines, 2):
        # All turn at the same places, and are level there: between two of these they cross once if at all.
        assert list(one.x) == list(other.x) and one.y[0] == one.y[1] and one.y[2] == one.y[3]


def test_a_mean_off_the_scale_is_a_triangle_and_written(tmp_path: Path) -> None:
    study = SmallStudy(tmp_path, "s")
    for place, optimizer in enumerate(("adam", "adamw", "lion", "nadam", "sgd")):
        mean = 0.9 + place / 1000 if optimizer != "sgd" else 0.2
        study.retrain(study.arm(optimizer, 4), mean, mean + 0.001)
    drawn = figures.bit_widths(tmp_path)
    (points,) = with_names(drawn, "SGD")
    low = drawn.layout.yaxis.range[0]
    assert list(points.marker.symbol) == ["triangle-down"] and list(points.y) == [low] and low > 0.8
    assert "SGD ▼ 20.1 %" in [note.text for note in drawn.layout.annotations]
    (inside,) = with_names(drawn, "Adam")
    assert list(inside.marker.symbol) == ["circle"]


def test_names_are_moved_apart_no_further_than_they_have_to() -> None:
    random = np.random.default_rng(0)
    for _ in range(20):
        at = list(random.uniform(0, 100, 6))
        placed = apart(at, 10, 0, 100)
        order = np.argsort(at)
        assert (np.diff(np.array(placed)[order]) >= 10 - 1e-9).all() and min(placed) >= 0 and max(placed) <= 100
        # An independent solver of the same least squares.
        bounds, start = {"type": "ineq", "fun": lambda y, o=order: np.diff(y[o]) - 10}, np.argsort(order) * 20.0
        found = minimize(
            lambda y, at=at: ((y - at) ** 2).sum(), start, constraints=bounds, bounds=[(0, 100)] * 6, method="SLSQP"
        )
        assert placed == pytest.approx(found.x, abs=1e-3)  # its own tolerance
    assert apart([5, 5, 5], 10, 0, 10) == [0, 5, 10]  # not room for all
    assert apart([], 10, 0, 10) == []


def test_figures_are_arranged_for_a_width_and_their_order_is_that_of_the_board(made: Answers) -> None:
    wide = figures.learning_rate(made)
    order = list(made.frame("leaderboard")["optimizer"])
    assert len(order) == 10
    titles = [note.text for note in wide.layout.annotations[:5]]
    places = {name: np.mean([at % 5 for at, one in enumerate(order) if one == name]) for name in set(order)}
    expected = sorted(places, key=lambda name: (places[name], name))
    assert [title.split("</b>")[0].removeprefix("<b>") for title in titles] == list(map(shown, expected))
    columns = {axis.domain for axis in (wide.layout.xaxis, wide.layout.xaxis2, wide.layout.xaxis5)}
    narrow = arranged(go.Figure(wide), 320)
    assert len(columns) == 3 and narrow.layout.xaxis3.domain == narrow.layout.xaxis.domain
    assert narrow.layout.height > wide.layout.height


def test_rates_are_over_the_default_where_defaults_lie_decades_apart() -> None:
    def trials(*defaults: float) -> pd.DataFrame:
        return pd.DataFrame({"optimizer": list("abc")[: len(defaults)], "default_learning_rate": defaults})

    assert defaults_apart(trials(1e-3, 5e-3)) == {}
    assert defaults_apart(trials(1e-3, math.nan)) == {}
    apart_ = defaults_apart(trials(1e-3, 1.0))
    assert apart_ == {"a": 1e-3, "b": 1.0}
    drawn = over(pd.Series([1e-2, 1e-1]), pd.Series(["a", "b"]), apart_)
    assert list(drawn) == pytest.approx([10, 0.1], abs=EXACT)
    assert ticks(drawn, apart_) == {"tickvals": [0.1, 1.0, 10.0], "ticktext": ["÷10", "×1", "×10"]}


def test_heat_maps_leave_out_what_does_not_move(made: Answers) -> None:
    drawn = figures.oscillation(made)
    assert [trace.type for trace in drawn.data] == ["heatmap"] * 5
    assert len({trace.coloraxis for trace in drawn.data}) == 1 and drawn.layout.coloraxis.cmin == 0
    rows = made.frame("layer_quantities")
    still = Quantity("oscillating", "share", float(rows["oscillating"].max()) * 1.01, "Nothing oscillates")
    said = _heatmaps(made, still, {}).layout.meta[SENTENCE]
    assert said.startswith("Nothing oscillates: ") and "Adam" in said


def test_operands_of_attention_are_rows_of_their_own(made: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = made.frame
    as_attention = asked("layer_quantities").replace({"kind": {"weight": "query", "activation": "key"}})
    monkeypatch.setattr(made, "frame", lambda name: as_attention if name == "layer_quantities" else asked(name))
    (one, *_) = figures.step_size(made).data
    assert list(one.y) == [f"{layer} {kind}" for layer in ("conv1", "conv2", "fc") for kind in ("query", "key")]


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
    assert [cell(value) for value in values] == ["–", "–", "yes", "no", "0.123", "1e-5", "12", "4", "<b>"]


def test_rows_are_capped_and_say_so() -> None:
    frame = pd.DataFrame({"study_id": "s", "unit": "dB", "metric": "psnr", "value": range(30)})
    found = rows(frame, 10, ("study_id",))
    assert (found["columns"], len(found["rows"]), found["total"]) == (["value"], 10, 30)
    assert found["metric"] == "PSNR"


def test_long_titles_are_broken_and_make_room_above() -> None:
    short = Panels(["4/4 bits"], x={}, y={}, least=300).figure
    long = Panels(
        ["4/4 bits against 32/32 from a worsened start, beside <Adam>"], x={}, y={}, least=300, left=160
    ).figure
    title = long.layout.annotations[0].text
    assert title.count("<br>") == 2 and "&lt;Adam&gt;" in title
    assert long.layout.margin.t == short.layout.margin.t + 28 and long.layout.height == short.layout.height + 28
