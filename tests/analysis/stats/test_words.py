import pytest

from analysis.stats.words import amount, between, counted, joined


def test_names_are_joined() -> None:
    assert [joined(names) for names in (["a"], ["a", "b"], ["a", "b", "c"])] == ["a", "a and b", "a, b and c"]
    assert joined(["a", "b"], "or") == "a or b"


def test_things_are_counted() -> None:
    assert [counted(n, "seed") for n in (0, 1, 2)] == ["0 seeds", "1 seed", "2 seeds"]


@pytest.mark.parametrize(
    ("value", "low", "high", "unit", "said"),
    [
        (0.008, 0.005, 0.011, "fraction", "0.8 points worse (0.5 .. 1.1)"),
        (0.8, 0.5, 1.1, "percent", "0.8 points worse (0.5 .. 1.1)"),
        (0.65, 0.5, 0.8, "dB", "0.65 dB worse (0.50 .. 0.80)"),  # a half width of 0.15 takes two digits
        (15.43, 12.1, 18.8, "dB", "15 dB worse (12 .. 19)"),
        (0.34, 0.04, 0.64, "dB", "0.34 dB worse (0.04 .. 0.64)"),  # 0.0 would say that it may be none
        (0.5, 0.5, 0.5, "dB", "0.500 dB worse (0.500 .. 0.500)"),
        (0.5, 0.2, 0.8, "", "0.5 worse (0.2 .. 0.8)"),
    ],
)
def test_differences_have_the_digits_that_their_interval_carries(
    value: float, low: float, high: float, unit: str, said: str
) -> None:
    assert between(value, low, high, unit, "worse") == said


def test_amounts_are_in_the_unit_of_differences() -> None:
    assert [amount(0.001, "fraction"), amount(0.1, "dB"), amount(2.0, "")] == ["0.1 points", "0.1 dB", "2"]
    assert [amount(0.01, "fraction"), amount(1.0, "dB")] == ["1 point", "1 dB"]
