"""How a record becomes the state of a run: what a study that goes on and a simulated one share."""

from collections.abc import Mapping, Sequence
from typing import Any

from tune_qat.config.statuses import COMPLETED, RUNNING, SEARCH
from tune_qat.tuning.asha import STOPPED_BY_ASHA
from tune_qat.tuning.queue import StudyQueue
from tune_qat.tuning.scheduler import StudyScheduler
from tune_qat.tuning.trial_record import TrialRecord


def recorded_start(queue: StudyQueue, record: Sequence[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Find the row of the pretrained start, where the record has it whole."""
    key = queue.pretrain.trial_key if queue.pretrain else None
    whole = (row for row in record if row["trial_key"] == key and row["status"] == COMPLETED)
    return next(whole, None)


def finish_rows(queue: StudyQueue, record: TrialRecord) -> None:
    """End the trials of which all is recorded, but not that they ended: they are not run again."""
    for state in queue.arms.values():
        for key, plan in list(state.cut_off.items()):
            epochs = record.epochs_of(key)
            if not epochs:
                continue
            status, reason = epochs[-1]["status"], None
            if status == RUNNING and plan.stage == SEARCH and record.stopped_at(key) == epochs[-1]["epoch"]:
                status, reason = STOPPED_BY_ASHA
            if status != "running":
                del state.cut_off[key]
                queue.ended(plan, record.ended(plan, {}, status, reason))


def history(queue: StudyQueue, record: TrialRecord) -> dict[str, list[tuple[int, float]]]:
    """Collect epoch and objective of what the search stage has recorded, by trial."""
    found: dict[str, dict[int, float]] = {}
    for state in queue.arms.values():
        plans = [*state.cut_off.values(), *(plan for plan, _ in state.done.values())]
        found.update((plan.trial_key, {}) for plan in plans if plan.stage == SEARCH)
    for key, epoch, metric in record.searched_epochs() if found else ():
        if key in found:
            found[key][epoch] = queue.objective.of(metric)
    return {key: sorted(of_trial.items()) for key, of_trial in found.items()}


def refill(scheduler: StudyScheduler, queue: StudyQueue) -> None:
    """Put the recorded values of ended trials into the rungs; one that goes on brings its own when it is added."""
    for state in queue.arms.values():
        for key, (plan, _) in state.done.items():
            if plan.stage == "search":
                scheduler.refill(plan.arm_id, key)
