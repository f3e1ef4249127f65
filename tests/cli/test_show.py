"""What `show` draws: leaderboards, learning rates and curves at any width, with and without colours."""

import io
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from analysis.answers import Answers
from tests.cli.typed import assert_refused
from tests.helpers.pseudo_terminal import pseudo_terminal
from tests.helpers.records import StudyAtOnce, write_arms
from tune_qat import cli
from tune_qat.cli import show_text
from tune_qat.cli.show_plots import curves, learning_rates
from tune_qat.cli.show_table import leaderboard

NAMES = ["lion", "adamw", "rmsprop", "sgd_clip", "sgd"]
MEANS = [27.33, 27.2, 27.13, 26.4, 20.0]
KNOWN = {"mode": "comparison", "metric": "psnr", "unit": "dB", "sign": 1}
STANDING = pd.DataFrame(
    {
        **KNOWN,
        "place": range(1, 6),
        "optimizer": NAMES,
        "mean": MEANS,
        "ci_low": [27.28, 27.18, 27.1, 26.2, None],
        "ci_high": [27.38, 27.22, 27.16, 26.6, None],
        "n": 10,
        "diverged": [0, 0, 0, 0, 2],
        "collapsed": [0, 0, 0, 0, 1],
        "learning_rate": [7.6e-5, 6e-4, 1.3e-4, 0.081, None],
        "batch_size": [4, 8, 8, 4, None],
        "trivial": 11.48,
        "bicubic": 26.88,
        "nearest": None,
    }
)
TUNED = pd.DataFrame(
    [
        {
            **KNOWN,
            "optimizer": name,
            "learning_rate": 10.0**power,
            "score": best - 0.3 * abs(power + 4),
            "status": "completed",
        }
        for name, best in zip(NAMES, MEANS, strict=True)
        for power in range(-6, 0)
    ]
    + [{**KNOWN, "optimizer": "lion", "learning_rate": 1.0, "score": 11.48, "status": "diverged"}]
)
LEARNED = pd.DataFrame(
    [
        {**KNOWN, "optimizer": name, "epoch": epoch, "seed": seed, "score": best - 2 * 0.5**epoch + 0.001 * seed}
        for name, best in zip(NAMES, MEANS, strict=True)
        for epoch in range(1, 13)
        for seed in range(3)
    ]
)  # fmt: skip


@pytest.mark.parametrize("width", [60, 80, 120])
class TestWidths:
    def test_the_leaderboard(self, width: int) -> None:
        lines = leaderboard(STANDING, width, over="seeds")
        assert max(map(len, lines)) <= width
        first, last = (next(line for line in lines if line.split()[:1] == [place]) for place in "15")
        assert first.split()[:3] == ["1", "Lion", "27.33"] and first.split()[-2:] == ["7.6e-5", "4"]
        assert ("27.28 .. 27.38" in first) == ("none: 3 failed" in last) == (width > 60)
        assert "●" in first and "◂" in last  # far off the scale
        assert lines[0] == "Scores on test data, mean over 10 seeds"
        assert " ".join(lines).endswith("Without training: bicubic 26.88 dB (┊), best constant 11.48 dB")
        assert sum("┊" in line for line in lines[:-1]) >= 4

    def test_learning_rates(self, width: int) -> None:
        lines = learning_rates(TUNED, NAMES, {"lion": 1e-4}, width, every=False)
        assert max(map(len, lines)) <= width
        panels = {60: 2, 80: 3, 120: 4}[width]
        assert lines[-1] == f"{5 - panels} more: --all"
        text = "\n".join(lines)
        assert text.count("│") == 6 * panels and "Lion 0.0001" in text and "AdamW" in text
        assert text.count("×") == 2 and text.count("◆") == 2  # each once in the key
        assert "27.33" in text  # the best is on the axis

    def test_all_learning_rates(self, width: int) -> None:
        lines = learning_rates(TUNED, NAMES, {}, width, every=True)
        assert max(map(len, lines)) <= width
        text = "\n".join(lines)
        assert text.count("│") == 6 * 5 and "more: --all" not in text

    def test_curves(self, width: int) -> None:
        lines = curves(LEARNED, NAMES, width, every=False)
        assert max(map(len, lines)) <= width
        text = "\n".join(lines)
        assert all(f"{place} {name}" in text for place, name in [(1, "Lion"), (4, "SGD with clipping"), (5, "SGD")])
        assert re.search("[\u2801-\u28ff]", text) and "epoch" in lines[-1]


def test_names_beside_curves_stand_in_the_order_of_their_ends() -> None:
    lines = curves(LEARNED, NAMES, 80, every=False)
    at = [next(place for place, line in enumerate(lines) if line.endswith(f"  {name}")) for name in
          ("1 Lion", "2 AdamW", "3 RMSProp", "4 SGD with clipping", "5 SGD")]  # fmt: skip
    assert at == sorted(at) and len({*at}) == 5


def test_a_metric_that_is_better_the_smaller_is_drawn_upside_down() -> None:
    losses = TUNED.assign(sign=-1, score=-TUNED["score"], unit="", metric="error")
    text = "\n".join(learning_rates(losses, NAMES, {}, 80, every=True))
    assert "×" in text.split("\n\n")[1].splitlines()[1]  # the failed trial is on top, where the worst is


def test_a_board_without_test_scores_says_so() -> None:
    assert leaderboard(STANDING[:0], 80, over="seeds") == [
        "No retrain trial has ended: there are no scores on test data yet."
    ]
    assert learning_rates(TUNED[:0], NAMES, {}, 80, every=False) == curves(LEARNED[:0], NAMES, 80, every=False) == []


def test_a_joint_search_ranks_nothing() -> None:
    joint = STANDING[:1].assign(mode="joint", place=None)
    lines = leaderboard(joint, 80, over="repeats")
    assert lines[0].startswith("Scores on test data, mean over 10 repeats; one search over all optimizers")


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Answers:
    study = StudyAtOnce(tmp_path_factory.mktemp("results"), "whole")
    write_arms(study)
    for number, arm in enumerate(study.arm_ids):
        for power in (2, 3, 4):
            study.whole_trial(arm, "random", metric=0.6 + 0.01 * power + 0.05 * number, learning_rate=10.0**-power)
        for seed in (1, 2):
            study.whole_trial(arm, "retrain", seed=seed, test_metric=0.7 + 0.05 * number)
    study.write_all()
    return Answers(study.results)


@pytest.fixture
def shown(asked: Answers, monkeypatch: pytest.MonkeyPatch) -> Callable[..., str]:
    monkeypatch.setattr(show_text, "Answers", lambda *_: asked)
    monkeypatch.delenv("COLUMNS", raising=False)

    def show(columns: int, *words: str, **environment: str) -> str:
        for name, value in {"TERM": "xterm-256color", "NO_COLOR": "", **environment}.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["tune-qat", "show", "results", *words])
        with pseudo_terminal(columns) as screen, pytest.raises(SystemExit) as ended:
            cli.main()
        assert not ended.value.code
        return screen.text

    return show


@pytest.mark.parametrize("environment", [{"NO_COLOR": "1"}, {"TERM": "dumb"}], ids=str)
def test_without_colours_nothing_but_text_is_printed(shown: Callable[..., str], environment: dict[str, str]) -> None:
    text = shown(80, **environment)
    assert "\x1b" not in text and max(map(len, text.splitlines())) <= 80
    assert text.count("whole: espcn-div2k at ") == 2
    assert ["1", "SGD"] in [line.split()[:2] for line in text.splitlines()]


def test_colours_change_no_character(shown: Callable[..., str]) -> None:
    coloured, plain = shown(80), shown(80, NO_COLOR="1")
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == plain


def test_boards_are_chosen_by_their_bits(shown: Callable[..., str]) -> None:
    text = shown(120, "--bits", "4/4", "--all")
    assert "at 4/4 bits" in text and "32/32 bits" not in text


def test_a_pipe_has_lines_of_eighty(
    asked: Answers, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tune_qat: Any
) -> None:
    monkeypatch.setattr(show_text, "Answers", lambda *_: asked)
    done = tune_qat("show", "results")
    assert done.code == 0 and "\x1b" not in done.out
    assert 60 < max(map(len, done.out.splitlines())) <= 80


def test_an_output_of_few_characters_gets_those_it_has(asked: Answers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(show_text, "Answers", lambda *_: asked)
    taken = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(taken, encoding="ascii"))
    monkeypatch.setattr(sys, "argv", ["tune-qat", "show", "results"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code
    sys.stdout.flush()
    assert b"--o--" in taken.getvalue() or b"o" in taken.getvalue()


def test_a_mistake_says_what_there_is(
    asked: Answers, monkeypatch: pytest.MonkeyPatch, tune_qat: Any, tmp_path: Path
) -> None:
    assert_refused(tune_qat("show", str(tmp_path / "nowhere")), 1, "does not exist")
    assert_refused(
        tune_qat("show", "results", "--bits", "4"), 2, "--bits takes bits of weights and activations, as 4/4"
    )
    monkeypatch.setattr(show_text, "Answers", lambda *_: asked)
    assert_refused(tune_qat("show", "results", "--bits", "8/8"), 2, "No board has 8/8 bits; there are 32/32, 4/4.")
