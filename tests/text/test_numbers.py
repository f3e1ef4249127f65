"""Numbers for people: how many digits, which style, and what is said of an unknown one."""

import math

import pytest

from tune_qat.text.numbers import bare_score, digits, duration, rate, score, unit_name


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0.00316227766, "0.0032"),
        (3.16e-5, "3.2e-5"),
        (1e-3, "0.001"),
        (1e-4, "0.0001"),
        (9.99e-5, "0.0001"),
        (1e-5, "1e-5"),
        (0.0996, "0.1"),
        (0.5, "0.5"),
        (1.0, "1"),
        (12.34, "12"),
        (123.4, "123"),
        (0.0, "0"),
        (None, "–"),
        (math.nan, "–"),
    ],
)
def test_learning_rates_have_one_style(value: float | None, said: str) -> None:
    assert rate(value) == said


def test_digits_are_significant_ones_and_keep_the_whole_part() -> None:
    assert [digits(value, 3) for value in (0.123456, 12.3456, 12345.6, -0.0012345, 1e16)] == [
        *("0.123", "12.3", "12346", "-0.00123", "1e16"),
    ]
    assert digits(9.999, 3) == "10", "no digit too many where rounding adds one"
    assert digits(math.inf, 3) == "∞"
    assert digits(-math.inf, 3) == "-∞"


@pytest.mark.parametrize("value", [10**exponent * lead for exponent in range(-9, 9) for lead in (1.0, 2.345, 9.96)])
def test_digits_say_the_value_to_half_a_digit(value: float) -> None:
    # n significant digits are right to 5 in the next one, relative to a leading digit of at least 1.
    assert float(digits(value, 3)) == pytest.approx(value, rel=5.001e-3)
    assert float(digits(-value, 3)) == -float(digits(value, 3))


def test_what_a_study_takes_is_in_minutes_or_hours() -> None:
    assert [duration(seconds) for seconds in (90, 7_199, 7_200, 36e5)] == [
        "1.5 min",
        "120.0 min",
        "2.0 hours",
        "1,000.0 hours",
    ]


def test_scores_have_their_unit() -> None:
    assert score(0.98234, "fraction") == "98.2 %"
    assert score(0.99934, "fraction") == "99.93 %", "near all, a tenth of a point hides what is left"
    assert score(1.0, "fraction") == "100.0 %"
    assert score(98.234, "percent") == "98.2 %"
    assert score(32.1249, "dB") == "32.12 dB"
    assert score(0.87654, "") == "0.877"
    assert score(12.3456, "points of a game") == "12.3 points of a game"
    assert score(0.98234, "fraction", decimals=2) == "98.23 %"
    assert score(None, "dB") == score(math.nan, "fraction") == "–"
    assert bare_score(0.98234, "fraction") == "98.2"
    assert [unit_name(unit) for unit in ("fraction", "percent", "dB", "")] == ["%", "%", "dB", ""]
