"""Progress of a running study as counts and best configurations, which a display draws."""

import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from operator import le
from typing import TYPE_CHECKING, Any

from tune_qat.config.statuses import CALIBRATED, COMPLETED, PRETRAIN, RUNNING, SEARCHED_STAGES
from tune_qat.study import Arm, Study
from tune_qat.study.arms import OWN
from tune_qat.study.cost import stage_epochs, trial_epochs
from tune_qat.study.mixed import mixed_schemes
from tune_qat.text.names import shown

if TYPE_CHECKING:
    from tune_qat.tuning.plan import PlannedTrial
    from tune_qat.tuning.queue import StudyQueue

RECENT = 50
"""Limit of the ended trials that a display may show."""
BEST_OF_JOINT = 3
"""Best configurations shown of a search over all optimizers."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Trial:
    """A trial as far as it is known."""

    plan: "PlannedTrial"
    status: str = RUNNING
    epoch: int = 0
    metric: float | None = None
    """Validation metric of its last epoch."""


@dataclass(slots=True)
class Cell:
    """One optimizer's trials in one column, of all repeats."""

    planned: int | None = None
    """Number of trials at most; None where one search decides which optimizer gets them."""
    ended: int = 0
    best: float | None = None


class Progress:
    """Counts of one run, told by its searcher: in the run's thread it counts, from any other it may be read."""

    def __init__(self, queue: "StudyQueue", unit: str = "") -> None:
        self.queue, self.study, self.unit = queue, queue.study, unit
        self.stage = "start"
        self.running: dict[str, Trial] = {}
        self.recent: deque[Trial] = deque(maxlen=RECENT)
        self.outcomes: Counter[str] = Counter()
        self.columns = columns_of(self.study)
        self.cells: defaultdict[tuple[str, str], Cell] = defaultdict(Cell, planned_cells(self.study, self.columns))
        """Cells by optimizer and column."""
        self.best: dict[str, list[Trial]] = {}
        """Best configurations of each column, the best one first."""
        self.trials = sum(trials for _, trials, _ in stage_epochs(self.study))
        self.epochs = trial_epochs(self.study)
        self.epochs_run = 0
        """Epochs of this run alone."""
        self.announce: Callable[[str], None] | None = None
        """Called with a line when a stage begins."""
        self._epochs_ended = 0
        self._best_count = BEST_OF_JOINT if self.study.mode == "joint" else 1
        self._began = time.monotonic()
        self._announced: set[str] = set()
        self._counted: set[str] = set()
        self._count_recorded()

    @property
    def ended(self) -> int:
        return sum(self.outcomes.values())

    @property
    def epochs_done(self) -> int:
        """Epochs that need not be trained any more, those of trials that were stopped early included."""
        return self._epochs_ended + sum(trial.epoch for trial in list(self.running.values()))

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._began

    @property
    def seconds_left(self) -> float | None:
        """Seconds left if no further trial is stopped early; None before the first epoch."""
        left = max(0, self.epochs - self.epochs_done)
        return left * self.seconds / self.epochs_run if self.epochs_run else None

    def listen(self, event: str, plan: "PlannedTrial", values: Mapping[str, Any]) -> None:
        """Count an event of the searcher: a trial started, finished an epoch, was lost and will resume, or ended."""
        if event == "started":
            self.running[plan.trial_key] = Trial(plan=plan)
            self._enter(plan.stage)
        elif event == "epoch":
            self.epochs_run += plan.stage != CALIBRATED
            known = self.running.get(plan.trial_key) or Trial(plan=plan)
            told = replace(known, epoch=values.get("epoch") or 0, metric=values.get("val_metric"))
            self.running[plan.trial_key] = told
        else:
            self.running.pop(plan.trial_key, None)
        if event == "ended":
            self._count(plan, values)
            self.recent.appendleft(_ended(plan, values))
            if plan.stage == PRETRAIN:
                self._count_recorded()  # arms of a start that was made again have recorded trials

    def _enter(self, stage: str) -> None:
        self.stage = stage
        # Arms do not wait for one another: one may be in its last stage while another still searches.
        if self.announce and stage not in self._announced:
            self._announced.add(stage)
            left = self.seconds_left
            clock = f"{minutes(self.seconds)} so far" + ("" if left is None else f", at most {minutes(left)} left")
            self.announce(f"{stage}: {self.ended} of {self.trials} trials ended, {clock}")

    def _count_recorded(self) -> None:
        """Count what earlier runs have left of the arms that are open, and of the starts."""
        for start in self.queue.starts:
            if start.plan is not None and start.row is not None:
                self._count(start.plan, start.row)
        for state in self.queue.arms.values():
            for plan, row in state.done.values():
                self._count(plan, row)

    def _count(self, plan: "PlannedTrial", row: Mapping[str, Any]) -> None:
        if plan.trial_key in self._counted:
            return
        self._counted.add(plan.trial_key)
        self.outcomes[row["status"]] += 1
        self._epochs_ended += 0 if plan.stage == CALIBRATED else plan.config.epochs
        column = self.columns.get(plan.arm_id)
        if column is None:
            return  # no trial of an arm
        cell = self.cells[plan.config.optimizer, column]
        cell.ended += 1
        if plan.stage in SEARCHED_STAGES and row["status"] == COMPLETED and row.get("val_metric") is not None:
            cell.best = row["val_metric"] if cell.best is None else self._better(cell.best, row["val_metric"])
            self._rank(column, _ended(plan, row))

    def _rank(self, column: str, trial: Trial) -> None:
        """Put a completed trial among the best of its column, each configuration once."""
        if self.queue.objectives.several:
            self.best[column] = self._front([*self.best.get(column, []), trial])
            return
        found: dict[str, Trial] = {}
        for one in sorted([*self.best.get(column, []), trial], key=self._worth, reverse=True):
            found.setdefault(one.plan.config.config_id, one)
        self.best[column] = [*found.values()][: self._best_count]

    def _front(self, trials: list[Trial]) -> list[Trial]:
        """Return the trials that no other dominates, the best metric first."""
        found: list[Trial] = []
        for one in sorted(trials, key=lambda one: (-self._worth(one)[0], self._costs(one), one.plan.trial_key)):
            costs = self._costs(one)
            if not any(all(map(le, self._costs(known), costs)) for known in found):
                found.append(one)
        return found

    def _costs(self, trial: Trial) -> list[float]:
        return self.queue.objectives.cost_of(trial.plan.config.scheme)

    def _worth(self, trial: Trial) -> tuple[float, str]:
        return self.queue.objective.of(trial.metric), trial.plan.trial_key

    def _better(self, one: float, other: float) -> float:
        return max(one, other, key=self.queue.objective.of)


def columns_of(study: Study) -> dict[str, str]:
    """Name the column of each arm, by its id: its bits, and what else sets it apart but the optimizer and repeat."""
    mixed = mixed_schemes(study.quantization)
    several = bool(study.quantization.methods or mixed)
    return {arm.arm_id: _column(arm, named=several, mixed=arm.method in mixed) for arm in study.arms()}


def _column(arm: Arm, *, named: bool, mixed: bool) -> str:
    bits = "any bits" if arm.searches_bits else f"{arm.scheme.weight_bits}/{arm.scheme.activation_bits}"
    words = [shown(arm.method)] if named and arm.method != "none" else []
    words += [] if mixed else [bits]
    words += [] if arm.step_optimizer == OWN else [f"steps {shown(arm.step_optimizer)}"]
    return " ".join([*words, *([f"worse for {arm.control_for}"] if arm.control else [])])


def planned_cells(study: Study, columns: Mapping[str, str]) -> dict[tuple[str, str], Cell]:
    """Count the trials that each optimizer may get in each column."""
    cells: dict[tuple[str, str], Cell] = {}
    for arm in study.arms():
        for optimizer in arm.optimizers:
            cell = cells.setdefault((optimizer, columns[arm.arm_id]), Cell())
            if arm.optimizer is not None:
                cell.planned = (cell.planned or 0) + sum(study.planned(arm).values())
    return cells


def _ended(plan: "PlannedTrial", row: Mapping[str, Any]) -> Trial:
    return Trial(plan=plan, status=row["status"], epoch=row.get("epochs_run") or 0, metric=row.get("val_metric"))


def minutes(seconds: float) -> str:
    """Return a time as 1:05, or 2:03:04."""
    whole, rest = divmod(round(seconds), 60)
    return f"{whole // 60}:{whole % 60:02}:{rest:02}" if whole >= 60 else f"{whole}:{rest:02}"
