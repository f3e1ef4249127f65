"""Check of ASHA's first rung between the random trials and the search, by the trials that nothing stops."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tune_qat.config import UsageError
from tune_qat.config.statuses import DEFAULT, RANDOM, SEARCH, STOPPED
from tune_qat.results.early_stopping import ARMS, SHARE, TRIALS, Kept, Unstopped, earliest_that_holds, kept_at
from tune_qat.study import Study
from tune_qat.tuning.arm import ArmState
from tune_qat.tuning.queue import StudyQueue
from tune_qat.tuning.trial_record import TrialRecord

FREE = (DEFAULT, RANDOM)
"""Stages whose trials nothing stops."""
Metrics = Mapping[int, float | None]
"""Validation metrics of a trial by epoch."""
ADVICE = (
    " Change the study file and run the same command again: nothing recorded is lost, and no trial of the search has "
    "begun. --allow-early-rung goes on with the rung as it is."
)


@dataclass
class RungCheck:
    """Gate before the search: it waits for random trials that may still decide, judges once, and says what it found.

    A study that has begun its search, or began with its rung before there was a check, goes on with a warning.
    """

    queue: StudyQueue
    record: TrialRecord
    refuse: Callable[[UsageError], Any]
    """Called with the error where the rung is refuted; no trial of the search starts then."""
    say: Callable[[str], Any] = lambda text: None
    allowed: bool = False
    """Whether the user lets the study go on with a rung that is refuted."""
    _arms: dict[str, list[Unstopped]] = field(default_factory=dict)
    """Trials of the arms whose default and random trials have all ended, by arm."""
    _passes: bool | None = None
    """Answer, once it is known."""

    def begin(self) -> None:
        """Check by the record where that decides, so that a study that was refused is so before anything starts."""
        if self._passes is not None or not self.queue.open:
            return
        metrics: defaultdict[str, dict[int, float | None]] = defaultdict(dict)
        if self._asked() and self._ended():
            for key, epoch, metric in self.record.searched_epochs():
                metrics[key][epoch] = metric
        self._judge(lambda key: metrics[key], coming=True)

    def __call__(self) -> bool:
        """Tell whether trials of the search may start; False, too, where the answer has to be waited for."""
        if self._passes is None:
            self._judge(self._read, coming=bool(self.queue.live))
        return bool(self._passes)

    def _judge(self, metrics: Callable[[str], Metrics], *, coming: bool) -> None:
        """Check the first rung, unless trials that are `coming` may still change the answer."""
        if not self._asked():
            self._passes = True
            return
        ended = self._ended()
        if coming and self._arms and len(ended) == len(self._arms):
            return  # nothing new since the last look
        for state in ended:
            if state.arm.arm_id not in self._arms:
                self._arms[state.arm.arm_id] = unstopped(state, metrics)
        study, arms = self.queue.study, list(self._arms.values())
        found = kept_at(study.first_rung, arms, study.asha.reduction_factor)
        most = Kept(found.rung, found.kept, found.arms + (self._coming() if coming else 0))
        if most.arms > found.arms and most.enough and (most.refuted or not found.enough):
            return  # it depends on the arms that are missing
        why = self._goes_on() if found.refuted else ""
        self._passes = not found.refuted or bool(why)
        said = sentence(study, found, arms)
        if self._passes:
            self.say(f"{said}{why}")
        else:
            self.refuse(UsageError(f"{said}{ADVICE}"))

    def _asked(self) -> bool:
        """Return whether ASHA will look at a trial that is still to come."""
        study, open_ = self.queue.study, self.queue.arms
        states = (open_.get(arm.arm_id) for arm in study.arms())
        left = any(one is None or one.ended(SEARCH) < one.planned(SEARCH) for one in states)
        return bool(study.rungs and study.stages.search) and left

    def _ended(self) -> list[ArmState]:
        """Return the arms whose default and random trials have all ended."""
        return [
            one for one in self.queue.arms.values() if all(one.ended(stage) >= one.planned(stage) for stage in FREE)
        ]

    def _coming(self) -> int:
        """Count the other arms, if they plan enough trials to count; the start of some may not be known yet."""
        study = self.queue.study
        others = (study.planned(arm) for arm in study.arms() if arm.arm_id not in self._arms)
        return sum(sum(planned[stage] for stage in FREE) >= TRIALS for planned in others)

    def _goes_on(self) -> str:
        """Say why a study goes on whose rung is refuted; nothing if it does not."""
        if any(state.begun(SEARCH) for state in self.queue.arms.values()):
            return " The study goes on with it, as its search has begun."
        begun = self.queue.study.begun
        if begun.first_rung is not None or begun.unchecked_rung:
            return " The study goes on with it, as it began so."
        return " The study goes on with it, as --allow-early-rung says." if self.allowed else ""

    def _read(self, trial_key: str) -> Metrics:
        return {row["epoch"]: row["val_metric"] for row in self.record.epochs_of(trial_key)}


def unstopped(state: ArmState, metrics: Callable[[str], Metrics]) -> list[Unstopped]:
    """Return the ended default and random trials of an arm; `metrics` are those of a trial by its key.

    One that failed or diverged ends with the score of the constant predictor.
    """
    found, objective = [], state.objective
    for key, (plan, row) in state.done.items():
        if plan.stage in FREE and row["status"] != STOPPED:
            at = metrics(key)
            signed = [None if at.get(n) is None else objective.of(at[n]) for n in range(1, plan.config.epochs + 1)]
            found.append(Unstopped(signed, objective.score_of(row)))
    return found


def sentence(study: Study, found: Kept, arms: Sequence[Sequence[Unstopped]]) -> str:
    """Say what the default and random trials show of the first rung, and which one holds where it does not."""
    epochs, factor = study.training.epochs, study.asha.reduction_factor
    rung = f"ASHA's first rung, epoch {found.rung} of {epochs}"
    if not found.enough:
        return (
            f"{rung}: unknown whether it keeps the best trials. To tell takes {TRIALS} default and random trials, "
            f"which nothing stops, in each of {ARMS} arms (stages.random plans them); {found.arms} have them."
        )
    kept = f"of those that nothing stops, the trial that ends best is in the share that goes on, one in {factor}, in"
    if not found.refuted:
        return f"{rung}, is not refuted: {kept} {found.figures}."
    holds = earliest_that_holds(arms, epochs, factor)
    advice = "No epoch holds: switch early stopping off, asha.enabled = false."
    if holds is not None:
        advice = (
            f"The earliest epoch that holds is {holds.rung}, with {holds.figures}: asha.grace_epochs = {holds.rung}, "
            "or no early stopping at all, asha.enabled = false."
        )
    return f"{rung}, loses the best trials: {kept} {found.figures}, below {SHARE:.0%}. {advice}"
