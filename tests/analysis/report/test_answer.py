"""The page's opening says who leads, with which rate and batch size, by how much, and what comes next."""

import json
import math
import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import pytest

from analysis.answers import Answers
from analysis.report.answer import answer
from analysis.report.decimals import decimals_of
from analysis.report.forest import LEFT, RIGHT, Axis, forest
from analysis.report.page import HERE, with_code
from tests.helpers.records import SmallStudy
from tune_qat.config import Scheme, TrialConfig

BEST, CLOSE, WORST = (0.981, 0.983, 0.985, 0.982), (0.980, 0.983, 0.984, 0.983), (0.951, 0.953, 0.956, 0.952)


CONFIG = TrialConfig(
    model="lenet5", dataset="digits", optimizer="adam", learning_rate=0.0031622776, batch_size=64, epochs=4,
    scheme=Scheme(quantizer="lsq", weight_bits=4, activation_bits=4), seed=1, init_seed=1,
    optimizer_options={"beta1": 0.9}, dataset_options={"train_limit": 96}, schedule="cosine",
)  # fmt: skip
WHEN = {"started_at": pd.Timestamp("2026-11-30 23:00"), "finished_at": pd.Timestamp("2026-12-01 01:00")}


def two(results: Path, name: str, scores: dict[str, tuple[float, ...]], **values: Any) -> None:
    study = SmallStudy(results, name)
    for optimizer, found in scores.items():
        study.retrain(study.arm(optimizer, **values), *found)


@pytest.fixture(scope="module")
def opened(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """The opening of a record of many small studies, by study: each has one board."""
    results = tmp_path_factory.mktemp("answer")
    winner = SmallStudy(results, "winner")
    winner.retrain(winner.arm("rmsprop"), *BEST, learning_rate=0.0031623, batch_size=64)
    winner.retrain(winner.arm("adam"), *WORST)
    two(results, "group", {"adam": BEST, "sgd": CLOSE, "lion": WORST}, margin=1e-9)
    two(results, "all", {"adam": BEST, "sgd": CLOSE}, margin=1e-9)
    two(results, "psnr", {"adam": (32.11, 32.13)}, metric="psnr", unit="dB", trivial_test_score=10.0)
    joint = SmallStudy(results, "joint", mode="joint")
    joint.retrain(joint.arm(None), *BEST, optimizer="adam")
    SmallStudy(results, "nothing").arm("adam")
    lost = SmallStudy(results, "lost")
    for optimizer in ("adam", "sgd"):
        lost.retrain(lost.arm(optimizer), None, None)
    searched = SmallStudy(results, "searched")
    for optimizer, scores in (("adam", (0.7, 0.9)), ("sgd", (0.6, 0.8))):
        arm = searched.arm(optimizer, task="super_resolution", model="espcn", dataset="photos")
        for score in scores:
            device: dict[str, Any] = {"device": "AMD EPYC", "precision": "float32", "device_s": 1350.0}
            searched.trial(arm, "random", val_metric=score, **device, **WHEN)
    chosen = SmallStudy(results, "chosen")
    arm, params = chosen.arm("adam"), json.dumps(asdict(CONFIG))
    for seed, (val, test) in enumerate(((0.7, 0.9), (0.8, 0.8))):
        name: dict[str, Any] = {"trial_key": f"seed-{seed}", "params_json": params}
        chosen.trial(arm, "retrain", seed=seed, val_metric=val, test_metric=test, **name)
    return {one["title"].partition(":")[0]: one for one in answer(Answers(results))}


def told(opened: dict[str, dict[str, Any]], study: str) -> str:
    (line,) = opened[study]["lines"]
    return f"{line['head'].name}{line['head'].said}. {line['next']}"


def test_the_winner_has_rate_batch_score_interval_and_what_comes_next(opened: dict[str, Any]) -> None:
    line = opened["winner"]["lines"][0]
    assert (line["label"], line["rate"], line["batch"], line["metric"]) == ("4/4 bits", "0.0032", "64", "accuracy")
    # The mean 0.98275 with t(3) = 3.182 standard errors of 0.000854: half a width of 0.27 points.
    assert (line["score"], line["interval"]) == ("98.3 %", "95 % interval 98.0 to 98.5")
    assert line["n"] == "n = 4 seeds, test data"
    # Differences 3.0, 3.0, 2.9 and 3.0 points: 2.975 with half a width of 3.182 * 0.05 / 2 = 0.08.
    assert told(opened, "winner") == (
        "RMSProp\u2019s configuration is the best of those found. Next: Adam, 2.98 points worse (2.90 .. 3.05)."
    )


def test_a_leading_group_is_named_and_what_comes_behind_it(opened: dict[str, Any]) -> None:
    said = told(opened, "group")
    assert said.startswith(
        "Adam\u2019s configuration leads; that of SGD is not told apart from it. First behind this group: Lion, "
    )


def test_where_all_belong_to_the_group_the_second_of_it_comes_next(opened: dict[str, Any]) -> None:
    # Differences 0.1, 0, 0.1 and -0.1 points: 0.025 with half a width of 3.182 * 0.0957 / 2 = 0.152.
    assert told(opened, "all").endswith("Next: SGD, not told apart: 0.03 points worse (-0.13 .. 0.18).")


def test_decibels_and_metrics_are_as_people_write_them(opened: dict[str, Any]) -> None:
    line = opened["psnr"]["lines"][0]
    assert (line["metric"], line["score"]) == ("PSNR", "32.12 dB")
    assert told(opened, "psnr") == "Adam is the only optimizer with scores on test data. "


def test_without_test_scores_the_best_on_validation_data_is_called_optimistic(opened: dict[str, Any]) -> None:
    line = opened["searched"]["lines"][0]
    assert (line["score"], line["interval"]) == ("90.0 %", "")
    assert line["n"] == "on validation data, the best of 4 trials"
    said = told(opened, "searched")
    assert said.startswith("Adam has the best trial. Next: SGD, 10 points worse, untested. The best of many is")


def test_a_joint_search_ranks_nothing(opened: dict[str, Any]) -> None:
    assert told(opened, "joint").endswith("which does not rank them. ")


def test_nothing_is_said_where_there_is_nothing(opened: dict[str, Any]) -> None:
    assert told(opened, "nothing") == "No trial has been completed yet. "
    assert told(opened, "lost") == "Every configuration failed or learned nothing: nothing can be told. "


def test_the_configuration_is_copied_as_toml_that_is_the_trial(opened: dict[str, Any]) -> None:
    text = opened["chosen"]["lines"][0]["toml"]
    assert TrialConfig.from_dict(tomllib.loads(text)) == CONFIG
    assert text.startswith(
        "# Adam at 4/4 bits: accuracy 85.0 %, n = 2 seeds, test data\n# the trained model: tune-qat "
    )
    assert " seed-1 -o model.onnx\n" in text, "the best of the seeds on validation data, as `export` takes it"


def test_facts_stand_at_the_top(opened: dict[str, Any]) -> None:
    assert dict(opened["searched"]["facts"]) == {
        "date": "30 November 2026 to 1 December 2026",
        "task": "super-resolution: espcn on photos, 1,000 training samples for 4 epochs",
        "hardware": "AMD EPYC, float32",
        "time": "1.5 device hours",
        "size": "2 optimizers, 4 trials ended",
    }


def _rows(*values: tuple[str, float, float, float]) -> pd.DataFrame:
    return pd.DataFrame(values, columns=["optimizer", "mean", "ci_low", "ci_high"])


def test_the_leader_of_a_forest_plot_is_on_the_scale_and_outliers_are_marked() -> None:
    others = [(name, 0.5 + 0.001 * place, 0.5, 0.51) for place, name in enumerate(("sgd", "lion", "nadam", "radam"))]
    rows = _rows(("adam", 0.9, 0.88, 0.92), *others, ("lamb", 0.1, 0.0, 0.2))
    drawn = forest(rows, ["adam", "sgd", "lion", "nadam", "radam", "lamb"], "fraction", 1)
    first, last = drawn["rows"][0], drawn["rows"][-1]
    assert LEFT < first["low"] < first["x"] == drawn["best"] < first["high"] <= RIGHT and first["off"] == ""
    assert last["off"] == "left" and last["low"] is None
    assert first["score"] == "90.0" and len(drawn["ticks"]) >= 2


@pytest.mark.parametrize("span", [1e-5, 0.03, 0.99, 1.0, 7.3, 410.0])
@pytest.mark.parametrize("low", [0.0, -2.34, 98.123])
def test_an_axis_has_two_to_ten_round_ticks(low: float, span: float) -> None:
    ticks = Axis(low, low + span).ticks()
    assert 2 <= len(ticks) <= 10
    step = ticks[1] - ticks[0]
    lead = step / 10 ** math.floor(math.log10(step) + 1e-6)
    assert min(abs(lead - one) for one in (1, 2, 5)) < 1e-6  # differences of multiples of it lose that much
    assert all(low - 1e-9 <= tick <= low + span + 1e-9 for tick in ticks)


def test_a_forest_plot_is_drawn_by_its_template_and_names_are_text() -> None:
    environment = jinja2.Environment(loader=jinja2.FileSystemLoader(HERE / "templates"), autoescape=True)
    macro = environment.get_template("forest.html.j2").module
    drawn = forest(_rows(("<b>x</b>", 0.9, 0.88, 0.92), ("adam", 0.8, 0.7, 0.9)), ["<b>x</b>"], "fraction", 1)
    svg = str(macro.forest(drawn, 'said "so"'))  # type: ignore[attr-defined]
    assert "<b>" not in svg and "&lt;b&gt;x&lt;/b&gt;" in svg and "script" not in svg
    assert svg.count("<circle") == 2 and svg.count('class="leads"') == 1 and ">90.0<" in svg
    assert forest(_rows(("adam", math.nan, math.nan, math.nan)), [], "fraction", 1) == {}


def test_decimals_follow_the_intervals_within_reason() -> None:
    assert decimals_of(_rows(("a", 0.98, 0.9795, 0.9805)), "fraction") == 2
    assert decimals_of(_rows(("a", 0.98, 0.9, 1.0)), "fraction") == 1
    assert decimals_of(_rows(("a", 27.57, 27.5699, 27.5701)), "dB") == 2
    assert decimals_of(_rows(("a", 0.87, math.nan, math.nan)), "") == 3


def test_what_stands_between_backticks_is_code() -> None:
    assert with_code("Run `a < b` <now>.") == "Run <code>a &lt; b</code> &lt;now&gt;."
    assert with_code("one ` alone") == "one ` alone"
