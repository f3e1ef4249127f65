"""A study whose metric is minimised: with the metric negated it is the same study, and its answers are mirrored."""

import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

import analysis
from analysis.stats import verdicts
from tests.data.own_data import CODE, NAME, write_code
from tests.helpers.own_code import forgetting_code
from tests.helpers.studies import tiny_study
from tests.helpers.without_ray import run_here
from tune_qat.cli.status_text import describe as status
from tune_qat.config.own_parts import allow
from tune_qat.export.choice import choose
from tune_qat.results.reader import read_rows
from tune_qat.simulate.load import load
from tune_qat.simulate.loop import simulate
from tune_qat.study import Study
from tune_qat.tuning.outlook import outlook
from tune_qat.tuning.own_code import planned_with
from tune_qat.widen.edges import describe as edges

pytestmark = pytest.mark.slow

TASKS = '''
from torch.nn import functional
from torchmetrics import MeanMetric
from tune_qat.data.array_task import ArrayTask


class Up(ArrayTask):
    """The mean probability of the right class, of which no two are the same, in a unit without bounds."""

    metric, unit, sign, worst_metric = "score", "u", 1, 0.0

    def loss(self, output, target):
        return functional.cross_entropy(output, target)

    def make_metric(self):
        return MeanMetric()

    def update_metric(self, metric, output, target):
        metric.update(output.softmax(1).gather(1, target[:, None]))

    def constant(self):
        return functional.one_hot(self.train_targets.bincount().argmax(), self.model_input.classes).float()


class Down(Up):
    sign, worst_metric = -1, 0.0

    def make_metric(self):
        return -super().make_metric()  # torchmetrics: less the absolute value
'''
DIFFERENT = re.compile(
    "trial_key|hash|sha256|config_id|params_json|sign$|_s$|_at$|hours|ratio|started|finished|best_key"
    "|best_at|best_learning_rate"
)
"""Columns that differ by themselves: identities, which cover the task, the sign, times, and what a trial's key decides
among those that have not learned and count the same."""
TIMED = {"time_to_target"}
"""Questions whose rows are ordered by measured times."""


def study_of(task: str) -> Study:
    return tiny_study(
        name="mirrored",
        workload={"model": "own_data:build", "dataset": NAME, "task": f"own_tasks:{task}", "options": {"n": 160}},
        space={
            "optimizers": ["adam", "sgd_clip"],
            "batch_size": {"low": 16, "high": 64},
            "learning_rate": {"low": 1e-3, "high": 30.0},
        },
        training={"epochs": 3, "init": "scratch"},
        stages={"default": False, "random": 1, "search": 4, "retrain": 2},
        judgement={"metric": "score", "margin": 0.05},
    )


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    """The results folders, in which nothing is written any more: of the metric as it is, and negated."""
    folder = tmp_path_factory.mktemp("minimised")
    forgotten = forgetting_code()
    next(forgotten)
    allow([write_code(folder / "code", {"own_data.py": CODE, "own_tasks.py": TASKS})])
    for task in ("Up", "Down"):
        run_here(study_of(task), folder / task)
    yield folder / "Up", folder / "Down"
    next(forgotten, None)


@pytest.fixture(scope="module")
def asked(both: tuple[Path, Path]) -> tuple[analysis.Answers, analysis.Answers]:
    one, other = map(analysis.answers, both)
    return one, other


def frames(asked: tuple[analysis.Answers, analysis.Answers], query: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    one, other = (folder.frame(query) for folder in asked)
    return one, other


def test_the_same_configurations_are_tried_stopped_and_chosen(
    both: tuple[Path, Path], asked: tuple[analysis.Answers, analysis.Answers]
) -> None:
    told = "stage, optimizer, arm_id, trial_number, learning_rate, batch_size, seed, status, stop_reason, epochs_run"
    one, other = frames(asked, f"SELECT {told}, val_metric, learned FROM trials ORDER BY ALL")
    assert one.drop(columns="val_metric").equals(other.drop(columns="val_metric"))
    assert one["val_metric"].fillna(9).equals((-other["val_metric"]).fillna(9))
    assert {"completed", "stopped", "diverged"} <= set(one["status"]), "the study shows too little"
    up, down = (read_rows(folder, "arms") for folder in both)
    assert {arm["sign"] for arm in up} == {1} and {arm["sign"] for arm in down} == {-1}
    assert [arm["trivial_score"] for arm in up] == [-arm["trivial_score"] for arm in down]
    assert {arm["worst_metric"] for arm in (*up, *down)} == {0.0}
    kept, cut = frames(asked, "SELECT arm_id, rung, value, cutoff, action FROM decisions ORDER BY ALL")
    assert kept.equals(cut), "the objective has its sign already"


@pytest.mark.parametrize("question", sorted(analysis.queries().keys() - TIMED))
def test_every_bundled_answer_is_mirrored(question: str, asked: tuple[analysis.Answers, analysis.Answers]) -> None:
    one, other = frames(asked, question)
    assert list(one) == list(other) and len(one) == len(other)
    for name in one.columns.difference(["ci_low", "ci_high"]):
        if DIFFERENT.search(name):
            continue
        for up, down in zip(one[name], other[name], strict=True):
            assert mirrored(up, down), f"{name}: {up!r} and {down!r}"
    if "ci_low" in one:
        for up, down in zip(one.itertuples(), other.itertuples(), strict=True):
            ends = (up.ci_low, up.ci_high), (down.ci_low, down.ci_high)
            assert all(map(mirrored, *ends)) or all(map(mirrored, ends[0], ends[1][::-1])), ends


def mirrored(one: Any, other: Any) -> bool:
    """The same, or a number and its negative up to the rounding of sums."""
    if pd.api.types.is_list_like(one) or isinstance(one, dict):
        return str(one) == str(other)
    if pd.isna(one) or pd.isna(other):
        return bool(pd.isna(one) and pd.isna(other))
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(abs(one), abs(other), rel_tol=1e-9, abs_tol=1e-12)
    return bool(one == other)


def test_the_board_ranks_from_the_better_end(asked: tuple[analysis.Answers, analysis.Answers]) -> None:
    one, other = frames(asked, "leaderboard")
    assert one["optimizer"].tolist() == other["optimizer"].tolist() and one["place"].equals(other["place"])
    for board, sign in ((one, 1), (other, -1)):
        for _, rows in board.groupby("weight_bits"):
            assert (sign * rows.sort_values("place")["mean"]).is_monotonic_decreasing


def test_words_are_the_same(both: tuple[Path, Path], asked: tuple[analysis.Answers, analysis.Answers]) -> None:
    up, down = map(verdicts, asked)
    assert up and plain(up) == plain(down)
    assert plain(edges(both[0])) == plain(edges(both[1]))
    assert plain(status(both[0])) == plain(status(both[1]))
    assert plain(outlook(study_of("Up"), both[0])) == plain(outlook(study_of("Down"), both[1]))


def plain(text: Any) -> list[str]:
    """Words without what differs by itself: names of tasks, times, the sign of scores."""
    return re.sub(r"Up|Down|-(?=\d)|\d+:\d+|[\d.]+ (s|min|h)\b|u_?\w*hash=\w+", "", str(text)).split()


def test_the_best_trial_is_exported(both: tuple[Path, Path]) -> None:
    keys = [choose(folder, None).trial_key for folder in both]
    chosen = [next(row for row in read_rows(folder, "trials") if row["trial_key"] == key)
              for folder, key in zip(both, keys, strict=True)]  # fmt: skip
    assert chosen[0]["seed"] == chosen[1]["seed"] and chosen[0]["learning_rate"] == chosen[1]["learning_rate"]


def test_nothing_is_left_to_run_and_a_simulation_stops_the_same(both: tuple[Path, Path]) -> None:
    ended = []
    for folder, task in zip(both, ("Up", "Down"), strict=True):
        study = study_of(task)
        assert run_here(study, folder)[0] == []
        study, _ = planned_with(study, folder, accept=False)
        done = simulate(study, load(folder, study).curves, workers=1)
        ended.append([(run.plan.arm_id, run.plan.stage, run.status, run.epoch) for run in done.runs])
    assert ended[0] == ended[1] and len(ended[0]) > 20
