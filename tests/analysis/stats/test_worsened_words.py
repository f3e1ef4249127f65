"""Made-up studies in which the truth is known: what quantization changes, against the control that can move."""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.answers import Answers
from analysis.figures import quantization_effect
from analysis.report.page import page
from analysis.stats import badges, interaction, interaction_tests, interactions, verdicts
from analysis.stats.interaction import FROM_START, FROM_WORSENED
from tests.helpers.records import SmallStudy

VARIES = json.dumps(["start", "subset", "split", "design", "order"])
CEILING = {"adam": 0.90, "sgd": 0.90}
"""Means of the 32/32 arms, which begin with 0.90."""
EQUAL, APART = {"adam": 0.86, "sgd": 0.86}, {"adam": 0.90, "sgd": 0.80}
UNMOVED = {"adam": 0.60, "sgd": 0.60}
"""Means of arms that begin with 0.60."""


def record(
    results: Path,
    at_4: Mapping[str, float],
    worsened: Mapping[str, float] | None,
    control: Mapping[str, float] = CEILING,
) -> Answers:
    """Four repeats of two optimizers; validation and test scores are alike."""
    study = SmallStudy(results, "s")
    float_arm: dict[str, Any] = {"quantizer": "none", "method": "none"}
    of_4: dict[str, Any] = {"control": "worsened", "control_for": "4/4", **float_arm}
    made = [("", 4, 0.60, at_4, {}), ("", 32, 0.90, control, float_arm)]
    made += [("-worsened_w4a4", 32, 0.60, worsened, of_4)] if worsened else []
    for number in range(4):
        for place, (suffix, bits, start, means, values) in enumerate(made):
            for column, (optimizer, mean) in enumerate(means.items()):
                seed = 100 * number + 10 * place + column
                arm_id = f"{optimizer}-w{bits}a{bits}{suffix}-r{number + 1}"
                known = {"repeat": number, "sampler_seed": seed, "varies_json": VARIES, "margin": 0.01, "whole": "s"}
                arm = study.arm(optimizer, bits, arm_id=arm_id, planned_retrain=1, **{**known, **values})
                score = float(mean + 0.002 * np.random.default_rng(seed).standard_normal())
                ended = {"test_metric": score, "val_metric": score, "calibrated_metric": start}
                study.trial(arm, "retrain", "completed", seed=number, **ended)
    return Answers(results)


def said(asked: Answers) -> str:
    (found,) = [one.sentence for one in verdicts(asked) if one.subject == "quantization"]
    return found


def badge(asked: Answers) -> tuple[str, str]:
    (found,) = [(one.state, one.sentence) for one in badges(asked) if one.name == "the control can move"]
    return found


@pytest.mark.slow
def test_a_change_is_told_against_the_worsened_control(tmp_path: Path) -> None:
    """In floating point the two are equal over the same distance; at 4/4 adam leads by 10 points."""
    asked = record(tmp_path, APART, EQUAL)
    found = re.search(r"It does change their differences: adam gains ([0-9.]+) points", said(asked))
    assert found and float(found[1]) == pytest.approx(10, abs=0.5)  # the truth; the noise of a mean is 0.2
    assert "The control is 32/32 from a start that noise has worsened" in said(asked)
    assert "gains most over its start, " in said(asked) and ": no more than the margin of 1 point." in said(asked)
    assert "cannot be told: the control cannot move" not in said(asked)
    state, sentence = badge(asked)
    assert state == "good" and "that from a worsened start can" in sentence


def test_what_floating_point_shows_too_is_no_change(tmp_path: Path) -> None:
    """Adam leads as much from the worsened start: against the start itself it would have been all quantization."""
    asked = record(tmp_path, APART, APART)
    assert "It does change" not in said(asked)
    assert "The control is 32/32 from a start that noise has worsened" in said(asked)
    assert "Quantization to 4/4 bits does not change which optimizer is best: adam." in said(asked)
    (plain,) = interaction(asked).itertuples()
    assert plain.outcome == "gains" and plain.difference == pytest.approx(0.1, abs=0.005)


def test_where_neither_can_move_nothing_is_told(tmp_path: Path) -> None:
    asked = record(tmp_path, APART, UNMOVED)
    assert said(asked).startswith(
        "Whether quantization to 4/4 bits changes which optimizer is best cannot be told: the control cannot move."
    )
    assert "over its start" in said(asked) and "over the worsened start" in said(asked)
    assert badge(asked)[0] == "bad"


def test_a_control_that_moves_from_the_start_itself_stays_the_control(tmp_path: Path) -> None:
    asked = record(tmp_path, APART, EQUAL, control={"adam": 0.98, "sgd": 0.98})
    assert "It does change their differences: adam gains" in said(asked)
    assert "worsened" not in said(asked) and badge(asked)[0] == "good"


@pytest.mark.slow
def test_the_exhibit_has_both_controls_by_name(tmp_path: Path) -> None:
    asked = record(tmp_path, APART, EQUAL)
    assert interactions(asked)["control"].tolist() == [FROM_START, FROM_WORSENED]
    assert interaction_tests(asked)["control"].tolist() == [FROM_START, FROM_WORSENED]
    rows = asked.frame("quantization_effect").set_index(["against", "optimizer"])
    # What the optimizer gains on the other: 10 points against both, as the two are equal in floating point.
    assert rows.index.tolist() == [(at, name) for at in (FROM_START, FROM_WORSENED) for name in ("adam", "sgd")]
    assert rows["gain"].tolist() == pytest.approx([0.1, -0.1] * 2, abs=0.005)
    assert rows["control"].tolist() == pytest.approx([0.90, 0.90, 0.86, 0.86], abs=0.005)
    drawn = quantization_effect(asked, study_id="s", workload="m-d").layout.annotations
    titles = " ".join(one.text.replace("<br>", " ") for one in drawn)
    assert f"against {FROM_START}, " in titles and f"against {FROM_WORSENED}, " in titles
    assert FROM_WORSENED in page(asked)


def test_without_a_worsened_control_the_exhibit_has_one(tmp_path: Path) -> None:
    asked = record(tmp_path, APART, None)
    assert interactions(asked)["control"].tolist() == [FROM_START]
    assert set(asked.frame("quantization_effect")["against"]) == {FROM_START}
    assert "the control cannot move" in said(asked)
