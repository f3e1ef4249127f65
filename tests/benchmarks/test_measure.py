"""The arithmetic of the measurements. What they measure is not tested: timing is no test's business."""

import math

import pytest

from benchmarks.measure import Bar, Rounds, command_line, disturbances, interleaved, spread, table


def test_arms_run_in_turns_after_a_warm_up_each() -> None:
    calls: list[str] = []

    def arm(name: str) -> float:
        calls.append(name)
        return float(len(calls))

    found = interleaved({"a": lambda: arm("a"), "b": lambda: arm("b")}, rounds=3)
    assert calls == ["a", "b"] * 4
    assert found.warm_up == {"a": 1.0, "b": 2.0}
    assert found.values == {"a": [3.0, 5.0, 7.0], "b": [4.0, 6.0, 8.0]}


def test_a_ratio_is_taken_within_each_round() -> None:
    # The second round was twice as slow for both arms: the ratio does not see it, that of the medians would.
    found = Rounds(warm_up={}, values={"a": [1.0, 4.0, 1.5], "b": [2.0, 4.0, 1.0]})
    assert found.ratio("a", "b") == spread([0.5, 1.0, 1.5])
    assert str(found.ratio("a", "b")) == "1 (0.5 .. 1.5)"


@pytest.mark.parametrize(
    ("at_least", "value", "met"),
    [(False, 1.1, True), (False, 1.11, False), (True, 1.1, True), (True, 1.09, False)],
)
def test_a_bar_is_met_at_its_limit(at_least: bool, value: float, met: bool) -> None:
    bar = Bar(figure="step", limit=1.1, at_least=at_least)
    assert bar.met(value) is met
    assert bar.line(value).endswith("**met**" if met else "**missed**")


def test_an_unknown_figure_meets_no_bar() -> None:
    assert not Bar(figure="x", limit=1.0).met(math.nan)
    assert not Bar(figure="x", limit=1.0, at_least=True).met(math.nan)


@pytest.mark.parametrize(
    ("changes", "reasons"),
    [
        ({}, 0),
        ({"load": 1.01}, 1),
        ({"rounds": 4}, 1),
        ({"reference": [1.0, 1.0, 1.11]}, 1),
        ({"load": 3.0, "rounds": 1, "reference": [1.0, 2.0]}, 3),
    ],
)
def test_what_disturbs_a_measurement_is_named(changes: dict[str, float], reasons: int) -> None:
    quiet = {"load": 1.0, "cores": 2, "rounds": 5, "reference": [1.0, 1.05, 1.1]}
    assert len(disturbances(**{**quiet, **changes})) == reasons  # type: ignore[arg-type]


def test_the_command_is_given_without_this_machines_folders() -> None:
    found = command_line(["/home/me/benchmarks/whole_study.py", "--data-dir", "/home/me/data", "--rounds", "5"])
    assert found == "python -m benchmarks.whole_study --data-dir DATA --rounds 5"


def test_a_table_is_markdown_with_aligned_columns() -> None:
    assert table(["arm", "s"], [["ours", 1], ["a longer name", 2.5]]).splitlines() == [
        "| arm           | s   |",
        "|---------------|-----|",
        "| ours          | 1   |",
        "| a longer name | 2.5 |",
    ]
