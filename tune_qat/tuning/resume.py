"""How a record becomes the state of a run: what a study that goes on and a simulated one share."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from tune_qat.tuning.plan import Plan
from tune_qat.tuning.queue import StudyQueue
from tune_qat.tuning.scheduler import StudyScheduler


def recorded_start(queue: StudyQueue, record: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """The row of the pretrained start, where the record has it whole."""
    key = queue.pretrain.trial_key if queue.pretrain else None
    whole = (row for row in record if row["trial_key"] == key and row["status"] == "completed")
    return next(whole, None)


def finish_rows(
    queue: StudyQueue,
    last_epoch: Callable[[str], Mapping[str, Any] | None],
    stopped_at: Callable[[str], int | None],
    ended: Callable[[Plan, str, str | None], Mapping[str, Any]],
) -> None:
    """End the trials of which all is recorded, but not that they ended: they are not run again.

    Args:
        queue: told of each.
        last_epoch: `epoch` and `status` of the last recorded epoch of a trial; None without any.
        stopped_at: epoch at which ASHA has decided to stop a trial; None where it has not.
        ended: writes the row of a trial that ended with this status and stop reason, and gives it.
    """
    for state in queue.arms.values():
        for key, plan in list(state.cut_off.items()):
            last = last_epoch(key)
            if last is None:
                continue
            status, reason = last["status"], None
            if status == "running" and plan.stage == "search" and stopped_at(key) == last["epoch"]:
                status, reason = "stopped", "asha"
            if status != "running":
                del state.cut_off[key]
                queue.ended(plan, ended(plan, status, reason))


def history(
    queue: StudyQueue, epochs: Callable[[], Iterable[tuple[str, int, float | None]]]
) -> dict[str, list[tuple[int, float]]]:
    """Epoch and objective of what the search stage has recorded, by trial.

    `epochs` gives (trial, epoch, metric) in the order of their attempts, of which the last counts; it is asked only
    where there are such trials.
    """
    found: dict[str, dict[int, float]] = {}
    for state in queue.arms.values():
        plans = [*state.cut_off.values(), *(plan for plan, _ in state.done.values())]
        found.update((plan.trial_key, {}) for plan in plans if plan.stage == "search")
    for key, epoch, metric in epochs() if found else ():
        if key in found:
            found[key][epoch] = queue.objective.of(metric)
    return {key: sorted(of_trial.items()) for key, of_trial in found.items()}


def refill(scheduler: StudyScheduler, queue: StudyQueue) -> None:
    """Put the recorded values of ended trials into the rungs; one that goes on brings its own when it is added."""
    for state in queue.arms.values():
        for key, (plan, _) in state.done.items():
            if plan.stage == "search":
                scheduler.refill(plan.arm_id, key)
