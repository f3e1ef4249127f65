"""State of a run from its record, for a study that is resumed and for a simulated one."""

from collections.abc import Container, Iterable, Mapping, Sequence, Set
from typing import Any

from tune_qat.config.statuses import COMPLETED, FAILED, RUNNING, SEARCH
from tune_qat.tuning.arm import ArmState
from tune_qat.tuning.asha import STOP, STOPPED_BY_ASHA
from tune_qat.tuning.plan import PlannedTrial
from tune_qat.tuning.queue import StudyQueue
from tune_qat.tuning.record import Record
from tune_qat.tuning.scheduler import StudyScheduler
from tune_qat.tuning.trial_record import TrialRecord


def finish_rows(queue: StudyQueue, record: TrialRecord, arms: Sequence[ArmState] | None = None) -> None:
    """Write the missing final row of trials whose last epoch is already recorded, of these arms or of all."""
    for state in queue.arms.values() if arms is None else arms:
        for key, plan in list(state.cut_off.items()):
            epochs = record.epochs_of(key)
            if not epochs:
                continue
            status, reason = epochs[-1]["status"], None
            if status == RUNNING and plan.stage == SEARCH and STOP in record.decisions_of(key).values():
                status, reason = STOPPED_BY_ASHA
            report: dict[str, Any] = {}
            if status == COMPLETED and plan.stage in queue.study.kept_stages:
                report["checkpoint_sha256"] = record.weights_hash(plan, epochs[-1]["epoch"])
                if report["checkpoint_sha256"] is None and queue.study.needs_model(plan.stage):
                    continue  # the model after the last epoch was not written: the trial goes on from what there is
            if status != RUNNING:
                _end(queue, record, plan, status, reason, report)


def refill(
    scheduler: StudyScheduler, queue: StudyQueue, record: TrialRecord, arms: Sequence[ArmState] | None = None
) -> None:
    """Put the recorded objectives of the search stage, of these arms or of all, into the rungs; judge cut-off trials.

    First the values of ended trials, then those that were judged before, so that each epoch without a decision is
    judged against all that came before it. Of several cut-off trials the older one is judged first. A stop ends the
    trial.
    """
    states = [*queue.arms.values()] if arms is None else arms
    recorded = _objectives(queue, record, states)
    for state in states:
        for key, (plan, row) in state.done.items():
            # The last epoch of a trial that failed may never have been reported.
            judged = record.decisions_of(key) if row["status"] in FAILED else None
            scheduler.refill(plan.arm_id, key, _only(recorded.get(key, ()), judged))
        cut = sorted((plan for key, plan in state.cut_off.items() if key in recorded), key=_age)
        for plan in cut:
            judged = record.decisions_of(plan.trial_key)
            scheduler.refill(plan.arm_id, plan.trial_key, _only(recorded[plan.trial_key], judged))
        for plan in cut:
            if scheduler.judge(plan.arm_id, plan.trial_key, recorded[plan.trial_key]):
                _end(queue, record, plan, *STOPPED_BY_ASHA, {})


def forget_checkpoints(queue: StudyQueue, record: Record, left: Set[str]) -> None:
    """Remove, of the checkpoints that are `left`, those of ended trials that do not stay.

    A driver may have died after it wrote their rows.
    """
    for state in queue.arms.values():
        chosen = {plan.config.config_id for plan, _ in state.choices}
        for plan in record.kept.swept((state.done[key] for key in left & state.done.keys()), chosen):
            record.forget_checkpoint(plan)


def judge_lost(scheduler: StudyScheduler, queue: StudyQueue, record: TrialRecord, plan: PlannedTrial) -> None:
    """Ask ASHA about epochs that a trial recorded and could not report, because it lost its process."""
    if plan.stage == SEARCH:
        # One that has diverged will do so again, and end by itself.
        going_on = [row for row in record.epochs_of(plan.trial_key) if row["status"] == RUNNING]
        values = [(row["epoch"], queue.objective.of(row["val_metric"])) for row in going_on]
        scheduler.judge(plan.arm_id, plan.trial_key, values)


def _objectives(
    queue: StudyQueue, record: TrialRecord, states: Sequence[ArmState]
) -> dict[str, list[tuple[int, float]]]:
    """Read (epoch, objective) of the recorded epochs of the search stage, by trial key."""
    found: dict[str, dict[int, float]] = {}
    for state in states:
        plans = [*state.cut_off.values(), *(plan for plan, _ in state.done.values())]
        found.update((plan.trial_key, {}) for plan in plans if plan.stage == SEARCH)
    for key, epoch, metric in record.searched_epochs() if found else ():
        if key in found:
            found[key][epoch] = queue.objective.of(metric)
    return {key: sorted(of_trial.items()) for key, of_trial in found.items()}


def _only(values: Iterable[tuple[int, float]], rungs: Container[int] | None) -> list[tuple[int, float]]:
    """Return the values at these rungs; all of them for None."""
    return [value for value in values if rungs is None or value[0] in rungs]


def _age(plan: PlannedTrial) -> tuple[int, str]:
    return plan.number, plan.trial_key


def _end(
    queue: StudyQueue,
    record: TrialRecord,
    plan: PlannedTrial,
    status: str,
    reason: str | None,
    report: Mapping[str, Any],
) -> None:
    """End a trial that was cut off, before anything runs."""
    del queue.arms[plan.arm_id].cut_off[plan.trial_key]
    queue.ended(plan, record.ended(plan, report, status, reason))
