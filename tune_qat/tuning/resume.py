"""State of a run from its record, for a study that is resumed and for a simulated one."""

from typing import Any

from tune_qat.config.statuses import COMPLETED, KEPT_STAGES, RUNNING, SEARCH
from tune_qat.tuning.asha import STOPPED_BY_ASHA
from tune_qat.tuning.queue import StudyQueue
from tune_qat.tuning.scheduler import StudyScheduler
from tune_qat.tuning.trial_record import TrialRecord


def finish_rows(queue: StudyQueue, record: TrialRecord) -> None:
    """Write the missing final row of trials whose last epoch is already recorded."""
    for state in queue.arms.values():
        for key, plan in list(state.cut_off.items()):
            epochs = record.epochs_of(key)
            if not epochs:
                continue
            status, reason = epochs[-1]["status"], None
            if status == RUNNING and plan.stage == SEARCH and record.stopped_at(key) == epochs[-1]["epoch"]:
                status, reason = STOPPED_BY_ASHA
            report: dict[str, Any] = {}
            if status == COMPLETED and plan.stage in KEPT_STAGES:
                report["checkpoint_sha256"] = record.weights_hash(plan, epochs[-1]["epoch"])
                if report["checkpoint_sha256"] is None:
                    continue  # the model after the last epoch was not written: the trial goes on from what there is
            if status != RUNNING:
                del state.cut_off[key]
                queue.ended(plan, record.ended(plan, report, status, reason))


def history(queue: StudyQueue, record: TrialRecord) -> dict[str, list[tuple[int, float]]]:
    """Read (epoch, objective) of the recorded epochs of the search stage, by trial key."""
    found: dict[str, dict[int, float]] = {}
    for state in queue.arms.values():
        plans = [*state.cut_off.values(), *(plan for plan, _ in state.done.values())]
        found.update((plan.trial_key, {}) for plan in plans if plan.stage == SEARCH)
    for key, epoch, metric in record.searched_epochs() if found else ():
        if key in found:
            found[key][epoch] = queue.objective.of(metric)
    return {key: sorted(of_trial.items()) for key, of_trial in found.items()}


def refill(scheduler: StudyScheduler, queue: StudyQueue) -> None:
    """Put the objectives of ended trials into the rungs; those of a resumed trial follow when Tune adds it."""
    for state in queue.arms.values():
        for key, (plan, _) in state.done.items():
            if plan.stage == SEARCH:
                scheduler.refill(plan.arm_id, key)
