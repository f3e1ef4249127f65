"""Sentences on the two published studies, which once said more than one search can carry."""

from pathlib import Path

import pytest

import analysis
from analysis.answers import Answers
from analysis.stats import badges, verdicts
from analysis.stats.badges import BAD
from analysis.stats.verdict import OPTIMIZERS, QUANTIZATION

FOLDER = Path(__file__).parents[3] / "docs" / "results"


@pytest.fixture(scope="module")
def lenet5() -> Answers:
    return analysis.answers(FOLDER / "lenet5_mnist_small" / "record")


@pytest.fixture(scope="module")
def espcn() -> Answers:
    return analysis.answers(FOLDER / "espcn_photos" / "record")


def sentence(record: Answers, bits: int, subject: str = OPTIMIZERS) -> str:
    (found,) = [one for one in verdicts(record) if (one.weight_bits, one.subject) == (bits, subject)]
    assert (found.speaks_of, found.repeats) == ("configurations", 1) and "To speak of optimizers: 3 or" in found.needed
    return found.sentence


def test_two_collapsed_seeds_of_adadelta_come_first(lenet5: Answers) -> None:
    said = sentence(lenet5, 2)
    assert said.startswith(
        "No better than a constant prediction (collapsed, diverged or failed): adadelta in 2 of 10 seeds (95 % "
        "interval 6 to 51 %). The mean of adadelta is unreliable, and compared with none. The configurations found for "
        "adam, adamw and sgd cannot be told apart; the one found for adam beats those found for "
    )


def test_forty_of_forty_five_pairs_differ_by_less_than_the_margin(espcn: Answers) -> None:
    assert sentence(espcn, 32).startswith(
        "The configurations found for the 10 optimizers are equivalent: no difference is as large as 0.1 dB (40 of 45 "
        "pairs differ, but by less than the margin)."
    )


def test_three_optimizers_that_are_one_method_are_no_three_votes(espcn: Answers) -> None:
    said = sentence(espcn, 4)
    assert said.startswith("The configuration found for lion beats those found for adamw, adam, ")
    assert said.endswith(
        "sgd, sgd_agc and sgd_clip are one method here, and no three votes: some of their runs are equal to the last "
        "bit."
    )
    assert "the chosen configuration of sgd_clip clipped no step and some of" in sentence(espcn, 32)


def test_a_control_at_its_ceiling_tells_nothing_of_quantization(espcn: Answers) -> None:
    said = sentence(espcn, 4, QUANTIZATION)
    assert said.startswith(
        "Whether quantization to 4/4 bits changes which configuration is best cannot be told: the control cannot move. "
        "At 32/32 lion gains most over its start, 0.00785 dB (psnr 29.61 dB before and 29.62 dB after, on validation "
        "data)"
    )
    assert "gains 0.3" not in said


def test_the_badges_say_what_the_design_lacks(lenet5: Answers, espcn: Answers) -> None:
    found = {(badge.study_id, badge.name): badge for record in (lenet5, espcn) for badge in badges(record)}
    assert found["lenet5_mnist_small", "searches repeated"].state == BAD
    assert found["espcn_photos", "the control can move"].state == BAD
    seen = found["lenet5_mnist_small", "test data seen once"].sentence
    assert seen == (
        "335 trials saw test data, 35 of them of configurations that were replaced since: 7 of 30 arms were tested "
        "with more than one configuration."
    )
    assert "245 trials saw test data, 45 of them" in found["espcn_photos", "test data seen once"].sentence
