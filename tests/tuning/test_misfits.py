"""Recorded trials that an edited study cannot use: how many, and which key of the file is why."""

from typing import Any

import pytest

from tests.helpers.studies import tiny_study
from tests.tuning.test_queue import INIT, make_queue, row_of
from tune_qat.study import Study
from tune_qat.tuning.misfits import misfits
from tune_qat.tuning.queue import StudyQueue
from tune_qat.tuning.standing import expected, standing_of

BATCH = {"low": 16, "high": 64}
TRIALS = 1 + 4 * (1 + 1 + 3 + 2)
OF_ARMS = TRIALS - 1


def recorded(study: Study) -> list[dict[str, Any]]:
    """The rows of a whole study."""
    queue, rows = make_queue(study), list[dict[str, Any]]()
    while (plan := queue.next()) is not None:
        # The best learning rate is the largest: each has a place.
        row = {**row_of(plan, metric=1 - 1 / (1 + plan.config.learning_rate)), "taken_from": None}
        row |= {"init_checkpoint_sha256": plan.init_checkpoint_sha256}
        rows.append({**row, "checkpoint_sha256": INIT if plan.stage == "pretrain" else None})
        queue.ended(plan, rows[-1])
    return rows


def told(before: Study, after: Study) -> list[str]:
    rows = recorded(before)
    return misfits(expected(make_queue(after, rows)), rows)


def of_arms(said: str) -> str:
    return f"{OF_ARMS} recorded trials do not fit any more: {said}"


STE = {"bits": [[32, 32], [4, 4]], "ste": "round_then_clip"}
PATH = {"epochs": 3, "init": "scratch"}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"training": {"epochs": 6}}, [of_arms("training.epochs 3, now 6")]),
        (
            {"training": {"epochs": 6, "schedule": "constant"}},
            [of_arms("training.epochs 3, now 6; training.schedule cosine, now constant")],
        ),
        (
            {"training": {"epochs": 3, "distillation": {"weight": 0.5, "temperature": 2.0}}},
            [of_arms("training.distillation.weight unset, now 0.5; training.distillation.temperature unset, now 2")],
        ),
        (
            {"pretrain": {"batch_size": 32, "epochs": 4}},
            [f"{TRIALS} recorded trials do not fit any more: pretrain.epochs 2, now 4"],
        ),
        (
            {"training": PATH, "pretrain": None},
            [f"{TRIALS} recorded trials do not fit any more: training.init pretrain, now scratch"],
        ),
        (
            {"quantization": {"bits": [[32, 32], [8, 8]]}},
            ["14 recorded trials do not fit any more: quantization.bits has no 4/4 any more"],
        ),
        (
            {"quantization": STE},
            ["14 recorded trials do not fit any more: quantization.ste clip_then_round, now round_then_clip"],
        ),
        (
            {"quantization": {"bits": [[32, 32], [4, 4]], "layers": {"fc3": "float"}}},
            ["14 recorded trials do not fit any more: quantization.layers left as they are none, now fc3"],
        ),
        (
            {"space": {"optimizers": ["adam"], "batch_size": BATCH}},
            ["14 recorded trials do not fit any more: space.optimizers has no sgd_clip any more"],
        ),
        ({"mode": "joint"}, [of_arms("mode comparison, now joint")]),
        (
            {"space": {"optimizers": ["adam", "sgd_clip"], "batch_size": BATCH, "fixed": {"adam": {"beta1": 0.5}}}},
            ["14 recorded trials do not fit any more: space.fixed.adam.beta1 0.9, now 0.5"],
        ),
        ({"stages": {"default": True, "random": 1, "search": 9, "retrain": 5}}, []),
        ({"space": {"optimizers": ["adam", "sgd_clip", "lion"], "batch_size": {"low": 8, "high": 128}}}, []),
        ({"seed": 7}, [f"{TRIALS} recorded trials do not fit any more: seed 0, now 7"]),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_the_reason_is_told_in_the_files_own_keys(change: dict[str, Any], said: list[str]) -> None:
    assert told(tiny_study(), tiny_study(**change)) == said


@pytest.mark.parametrize(
    ("space", "key"),
    [
        ({"learning_rate": {"low": 1e-2, "high": 2e-2}}, "space.learning_rate"),
        (
            {"per_optimizer": {name: {"learning_rate": {"low": 1e-2, "high": 2e-2}} for name in ("adam", "sgd_clip")}},
            "space.per_optimizer.adam.learning_rate",
        ),
    ],
)
def test_values_beyond_todays_ranges(space: dict[str, Any], key: str) -> None:
    before = tiny_study()
    rows = recorded(before)
    after = tiny_study(space={"optimizers": ["adam", "sgd_clip"], "batch_size": BATCH, **space})
    queue = expected(make_queue(after, rows))
    searched = [row for row in rows if row["stage"] in ("random", "search") and row["arm_id"] == "adam-w4a4"]
    out = [row for row in searched if not queue.arms["adam-w4a4"].known(row["trial_key"])]
    said = misfits(queue, rows)
    assert out and any(line.endswith(f"do not fit any more: outside of {key}") for line in said)
    assert sum(int(line.split()[0]) for line in said) == sum(
        not state.known(row["trial_key"])
        for row in rows
        for state in queue.arms.values()
        if row["arm_id"] == state.arm.arm_id
    )


def test_the_numbers_of_a_study_that_is_edited() -> None:
    rows = recorded(tiny_study())
    queue = expected(make_queue(tiny_study(training={"epochs": 6}), rows))
    assert with_start(queue, rows) == [f"1 recorded, {OF_ARMS} new", of_arms("training.epochs 3, now 6")]
    queue = expected(make_queue(tiny_study(), rows))
    assert with_start(queue, rows) == [f"{TRIALS} recorded, 0 new"]
    assert standing_of(make_queue(tiny_study()), []).lines() == []


def with_start(queue: StudyQueue, rows: list[dict[str, Any]]) -> list[str]:
    """How a study stands whose recorded start is whole."""
    for start in queue.starts:
        start.row = queue.recorded_start(start)
    return standing_of(queue, rows).lines()
