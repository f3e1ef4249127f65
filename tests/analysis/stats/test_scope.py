"""Made-up studies in which the truth is known, one for each kind of sentence that a design allows."""

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis.report.page import page
from analysis.stats import collapses, standings, verdicts
from analysis.stats.collapse_words import collapse
from analysis.stats.intervals import wilson
from analysis.stats.scope import FEWEST_REPEATS, Design, Scope
from analysis.stats.verdict import OPTIMIZERS, QUANTIZATION, Verdict
from tests.helpers.records import SmallStudy
from tests.helpers.rows import write

VARIES = ["start", "subset", "split", "design", "order"]
NEEDED = (
    'To speak of optimizers: 3 or more repeats of the search, `repeats = 4` with `[repeat] varies = ["start", '
    '"subset", "split", "design", "order"]`.'
)
TRUE = {"adam": 0.95, "sgd": 0.90}
"""True means at 4/4, far apart beside a spread of 0.002."""


def repeated(
    results: Path,
    repeats: int,
    means: Mapping[str, float] = TRUE,
    *,
    name: str = "s",
    bits: int = 4,
    varies: Sequence[str] | None = VARIES,
    own: bool = True,
    study: SmallStudy | None = None,
    lost: Mapping[str, Sequence[int]] | None = None,
    **values: Any,
) -> SmallStudy:
    """A study of repeats with two seeds each; the first seed of `lost` optimizers collapses in these repeats."""
    made = study or SmallStudy(results, name)
    rng = np.random.default_rng(bits)
    for number in range(repeats):
        for place, (optimizer, mean) in enumerate(means.items()):
            known: dict[str, Any] = {
                "varies_json": None if varies is None else json.dumps(varies),
                "repeat": number,
                "margin": 0.01,
            }
            known |= {"whole": name, "sampler_seed": 100 * number + 10 * place + bits if own else number}
            arm_id = f"{optimizer}-w{bits}a{bits}" + (f"-r{number + 1}" if number else "")
            arm = made.arm(optimizer, bits, arm_id=arm_id, planned_retrain=2, **{**known, **values})
            scores = mean + 0.002 * rng.standard_normal(2)
            fallen = number in (lost or {}).get(optimizer, ())
            for seed, score in enumerate(scores):
                ended: dict[str, Any] = (
                    {"test_metric": 0.4, "val_metric": 0.5, "learned": False} if fallen and seed == 0 else {}
                )
                made.trial(arm, "retrain", **{"seed": seed, "test_metric": float(score), "val_metric": 0.9} | ended)
    return made


def told(results: Path, subject: str = OPTIMIZERS, bits: int = 4) -> Verdict:
    (found,) = [one for one in verdicts(results) if one.subject == subject and one.weight_bits == bits]
    return found


@pytest.mark.parametrize("repeats", [1, 2, FEWEST_REPEATS, 4])
def test_sentences_speak_of_optimizers_from_three_repeats_on(tmp_path: Path, repeats: int) -> None:
    repeated(tmp_path, repeats)
    found = told(tmp_path)
    assert found.repeats == repeats
    if repeats < FEWEST_REPEATS:
        assert found.speaks_of == "configurations" and found.needed.endswith(NEEDED)
        assert "adam is best" not in found.sentence and "configuration" in found.sentence
    else:
        assert found.speaks_of == "optimizers"
        assert found.sentence.startswith("adam is best; sgd is ")
        # In the same sentence: by a t test of so many repeats.
        assert "), where 8 of 10 such studies find a difference of 0." in found.sentence
        assert found.sentence.endswith(" points between adam and sgd.")


@pytest.mark.parametrize(
    ("design", "said"),
    [
        ({"varies": None}, NEEDED),
        ({"varies": ["start", "order"]}, NEEDED),
        ({"own": False}, "here several arms share one. A study that begins under another name draws them apart."),
    ],
    ids=["not said", "no design", "shared design"],
)
def test_repeats_that_do_not_draw_the_search_anew_speak_of_configurations(
    tmp_path: Path, design: dict[str, Any], said: str
) -> None:
    repeated(tmp_path, 4, **design)
    found = told(tmp_path)
    assert found.speaks_of == "configurations" and found.needed.endswith(said)
    assert found.sentence.startswith("The configuration found for adam beats the one found for sgd by ")


def test_repeats_that_have_not_ended_yet_are_said(tmp_path: Path) -> None:
    study = repeated(tmp_path, 2)
    for number in (2, 3):
        for place, optimizer in enumerate(TRUE):
            known: dict[str, Any] = {"repeat": number, "varies_json": json.dumps(VARIES)}
            known["sampler_seed"] = 1000 + 10 * number + place
            study.arm(optimizer, arm_id=f"{optimizer}-w4a4-r{number + 1}", whole="s", **known)
    assert told(tmp_path).needed == (
        "2 searches say little of what another one would have found. To speak of optimizers: 3 or more repeats of the "
        "search; of 4 planned, 2 have ended so far."
    )


@pytest.mark.parametrize(("pairs", "said"), [(1, "here is 1."), (5, "here are 5."), (6, "")])
def test_nothing_is_said_of_optimizers_in_general_below_six_pairs(pairs: int, said: str) -> None:
    design = Design(planned=3, varies=frozenset(VARIES), own=True, pairs=pairs)
    needed = Scope(repeats=3, design=design).needed
    assert needed == (said and f"To speak of optimizers in general: 6 or more distinct pairs of model and data; {said}")


def test_blocks_of_repeats_in_two_studies_are_one(tmp_path: Path) -> None:
    """Repeats 1 and 2 in one file, 3 and 4 in another: the whole has four."""
    for name, numbers in (("w1", (0, 1)), ("w2", (2, 3))):
        study = SmallStudy(tmp_path, name)
        study._trials = 100 * numbers[0]
        rng = np.random.default_rng(numbers[0])
        for number in numbers:
            for place, (optimizer, mean) in enumerate(TRUE.items()):
                known: dict[str, Any] = {"repeat": number, "varies_json": json.dumps(VARIES)}
                known["sampler_seed"] = 10 * number + place
                arm_id = f"{optimizer}-w4a4" + (f"-r{number + 1}" if number else "")
                arm = study.arm(optimizer, arm_id=arm_id, whole="w", margin=0.01, **known)
                study.retrain(arm, float(mean + 0.002 * rng.standard_normal()), val_metric=0.9)
    found = told(tmp_path)
    assert (found.study_id, found.repeats, found.speaks_of) == ("w", 4, "optimizers")
    assert found.sentence.startswith("adam is best; sgd is ")


class TestCollapse:
    def test_it_is_said_first_with_its_interval(self, tmp_path: Path) -> None:
        repeated(tmp_path, 4, {**TRUE, "lion": 0.93}, lost={"lion": [1, 3]})
        low, high = (round(100 * end) for end in wilson(2, 4) or ())
        found = told(tmp_path)
        assert found.sentence.startswith(
            "No better than a constant prediction (collapsed, diverged or failed): lion in 2 of 4 repeats (95 % "
            f"interval {low} to {high} %; 2 of 8 runs). The mean of lion is unreliable, and compared with none. adam "
            f"is best; sgd "
        )

    def test_an_arm_that_always_collapses_has_a_mean(self, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "s")
        study.retrain(study.arm("adam", margin=0.01), 0.9, 0.91, 0.92)
        study.retrain(study.arm("sgd", margin=0.01), None, None, None)
        sentence = told(tmp_path).sentence
        assert sentence.startswith(
            "No better than a constant prediction (collapsed, diverged or failed): sgd in 3 of 3 seeds (95 % interval "
            "44 to 100 %). The configuration found for adam beats the one found for sgd by "
        )

    def test_nothing_is_said_where_none_did(self, tmp_path: Path) -> None:
        repeated(tmp_path, 3)
        assert collapse(collapses(tmp_path)) == ""


class TestControl:
    @pytest.mark.parametrize("gain", [0.002, 0.05])
    def test_it_is_asked_whether_it_can_move(self, tmp_path: Path, gain: float) -> None:
        """At 32/32 all end `gain` above what they began with; the margin is 0.01."""
        study = SmallStudy(tmp_path, "s")
        seed = 0
        for bits, means in ((32, {"adam": 0.95, "sgd": 0.951}), (4, TRUE)):
            rng = np.random.default_rng(bits)
            for optimizer, mean in means.items():
                seed += 1
                arm = study.arm(optimizer, bits, margin=0.01, sampler_seed=seed)
                for score in mean + 0.001 * rng.standard_normal(3):
                    known: dict[str, Any] = {
                        "val_metric": 0.9 + gain,
                        "calibrated_metric": 0.9,
                        "seed": len(study._arms),
                    }
                    study.trial(arm, "retrain", test_metric=float(score), **{**known, "seed": int(1e6 * score)})
        sentence = told(tmp_path, QUANTIZATION).sentence
        if gain < 0.01:
            assert sentence == (
                "Whether quantization to 4/4 bits changes which configuration is best cannot be told: the control "
                "cannot move. At 32/32 adam gains most over its start, 0.2 points (accuracy 90.0 % before and 90.2 % "
                "after, on validation data): no more than the margin of 1 point. Floating point had nothing to "
                "recover, so that a change against it is the difference at 4/4 bits again."
            )
        else:
            assert "control" not in sentence


@pytest.mark.parametrize("repeats", [1, 4])
def test_letters_are_shown_only_where_optimizers_are_ranked(tmp_path: Path, repeats: int) -> None:
    repeated(tmp_path, repeats)
    html = page(tmp_path)
    shown = html[: html.index("plotly.js v")]
    assert standings(tmp_path)["letters"].notna().all()  # in the statistic all the same
    assert ('<td class="letters">' in shown) == (repeats == 4)
    assert (">P(best)<" in shown) == (repeats == 4)
    plain = re.sub("</?code>", "`", shown)
    assert (NEEDED.replace('"', "&#34;") in plain) == (repeats == 1)


class TestOverBoards:
    def boards(self, results: Path, repeats: int = 3) -> dict[str, Verdict]:
        """Two workloads of one whole study: adam is five margins ahead of sgd on one, and seven on the other."""
        for number, sgd in enumerate((0.90, 0.88)):
            workload: dict[str, Any] = {"workload": f"m-d{number}", "model": "m", "dataset": f"d{number}"}
            workload["init"] = "pretrain"
            study = repeated(results, repeats, {"adam": 0.95, "sgd": sgd}, name=f"s{number}", **workload)
            for row in study._arms:
                row |= {"whole": "all", "sampler_seed": row["sampler_seed"] + 100_000 * number}
            write(results, study.name, "arms", "arms", *study._arms)
        return {one.subject: one for one in verdicts(results) if one.workload == "all boards"}

    def test_what_both_tell_together_is_said_in_margins(self, tmp_path: Path) -> None:
        found = self.boards(tmp_path)
        assert set(found) == {"boards"} and found["boards"].study_id == "all"
        assert re.fullmatch(
            r"On these 2 boards at 4/4 bits: adam is better by (5\.[89]|6|6\.[12]) margins \(\S+ \.\. \S+\) than sgd, "
            r"where 8 of 10 such studies find \S+ margins in the median pair\.",
            found["boards"].sentence,
        )
        assert found["boards"].needed.endswith("6 or more distinct pairs of model and data; here are 2.")

    def test_of_one_search_they_tell_of_configurations(self, tmp_path: Path) -> None:
        found = self.boards(tmp_path, repeats=1)
        assert "the one found for adam is better by" in found["boards"].sentence

    def test_who_moves_the_step_sizes(self, tmp_path: Path) -> None:
        study = repeated(tmp_path, 3, {"sgd": 0.90})
        for number, (level, mean) in enumerate((("own_rate", 0.90), ("adam", 0.94))):
            rng = np.random.default_rng(10 + number)
            for repeat in range(3):
                known: dict[str, Any] = {
                    "varies_json": json.dumps(VARIES),
                    "repeat": repeat,
                    "margin": 0.01,
                    "whole": "s",
                }
                arm_id = f"sgd-{level}-r{repeat}"
                seed = 7_000 + 100 * number + repeat
                arm = study.arm("sgd", arm_id=arm_id, step_optimizer=level, sampler_seed=seed, **known)
                for trial in range(2):
                    score = float(mean + 0.002 * rng.standard_normal())
                    study.trial(arm, "retrain", seed=trial, test_metric=score, val_metric=0.9, learned=True)
        found = [one.sentence for one in verdicts(tmp_path) if one.subject == "steps"]
        assert len(found) == 2
        by_adam = next(said for said in found if "by Adam" in said)
        assert re.fullmatch(
            r"Step sizes moved by Adam in place of the optimizer of the weights, both at a rate of their own, at 4/4 "
            r"bits: with sgd it is (3\.8|3\.9|4|4\.1|4\.2) margins \(\S+ \.\. \S+\) better, where 8 of 10 such "
            r"studies .*",
            by_adam,
        )
