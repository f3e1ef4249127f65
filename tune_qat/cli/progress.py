"""Display of a running study: a live table in a terminal, else a line for each stage."""

import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from tune_qat.cli.plan_text import trial_epochs
from tune_qat.config.statuses import DIVERGED, ERROR, OOM, PRETRAIN, STOPPED
from tune_qat.study.cost import stage_epochs
from tune_qat.text.printable import exact, printable

if TYPE_CHECKING:
    from tune_qat.tuning.cluster.connect import Resources
    from tune_qat.tuning.plan import PlannedTrial
    from tune_qat.tuning.searcher import StudySearcher

ROWS_SHOWN = 30
"""Limit of the arms in the table; of more, those with the most running trials are shown."""


def display(*, live: bool) -> Callable[["StudySearcher", "Resources"], Any]:
    """Return a context manager that shows a study: `live` in a terminal, else with a line for each stage."""

    @contextmanager
    def show(searcher: "StudySearcher", resources: "Resources") -> Iterator[None]:
        progress = Progress(searcher)
        searcher.listen(progress.listen)
        console = Console(file=exact(sys.stderr))  # it draws with escapes of its own
        if live and console.is_terminal:
            with Live(progress, console=console, refresh_per_second=4, transient=True):
                yield
        else:
            progress.announce = console.print
            yield

    return show


class Progress:
    """Counts of a running study, drawn as a table by rich."""

    def __init__(self, searcher: "StudySearcher") -> None:
        self._queue = searcher.queue
        self._began = time.monotonic()
        self._stage = "starting"
        self._running: set[str] = set()
        self._announced: set[str] = set()
        self._outcomes: Counter[str] = Counter()
        self._by_arm: dict[str, Counter[str]] = {}
        self._best: dict[str, float] = {}
        self._epochs_before = 0
        self._epochs_now = 0
        self._epochs_saved = 0
        self._start = ""
        self.announce: Callable[[str], None] | None = None
        for state in self._queue.arms.values():
            for plan, row in state.done.values():  # of earlier runs
                self._count(plan, row)
                self._epochs_before += plan.config.epochs

    def listen(self, event: str, plan: "PlannedTrial", values: Mapping[str, Any]) -> None:
        """Count an event of the searcher: a trial started, finished an epoch, was lost and will resume, or ended."""
        if event == "started":
            self._running.add(plan.trial_key)
            self._enter(plan.stage)
        elif event == "epoch":
            self._epochs_now += 1
            if plan.stage == PRETRAIN:
                metric = values.get("val_metric")
                self._start = f"the start of all arms: epoch {values.get('epoch')} of {plan.config.epochs}"
                self._start += "" if metric is None else f", validation {metric:.4f}"
        else:
            self._running.discard(plan.trial_key)
        if event == "ended":
            self._count(plan, values)
            ran = 0 if values.get("taken_from") else values.get("epochs_run") or 0
            self._epochs_saved += plan.config.epochs - ran

    def __rich__(self) -> Group:
        return Group(self._headline(), self._table() if self._queue.arms else Text(self._start))

    def _enter(self, stage: str) -> None:
        self._stage = stage
        # Arms do not wait for one another: one may be in its last stage while another still searches.
        if self.announce and stage not in self._announced:
            self._announced.add(stage)
            self.announce(f"{stage}: {sum(self._outcomes.values())} trials ended, {self._clock()}")

    def _count(self, plan: "PlannedTrial", row: Mapping[str, Any]) -> None:
        self._outcomes[row["status"]] += 1
        self._by_arm.setdefault(plan.arm_id, Counter())[row["status"]] += 1
        state = self._queue.arms.get(plan.arm_id)
        if state and state.best:
            self._best[plan.arm_id] = state.best[1]["val_metric"]

    def _headline(self) -> Text:
        ended = sum(self._outcomes.values())
        total = sum(trials for _, trials, _ in stage_epochs(self._queue.study))
        parts = [
            f"stage {self._stage}",
            f"{ended}/{total} trials done",
            f"{len(self._running)} running",
            f"{self._outcomes[STOPPED]} stopped early",
            f"{self._outcomes[DIVERGED]} diverged",
            self._clock(),
        ]
        failed = self._outcomes[ERROR] + self._outcomes[OOM]
        return Text(" · ".join([*parts, f"{failed} failed"] if failed else parts), style="bold")

    def _clock(self) -> str:
        spent = time.monotonic() - self._began
        planned = trial_epochs(self._queue.study)
        left = planned - self._epochs_before - self._epochs_now - self._epochs_saved
        if not self._epochs_now:
            return f"{_minutes(spent)} so far"
        return f"{_minutes(spent)} so far, at most {_minutes(max(0, left) * spent / self._epochs_now)} left"

    def _table(self) -> Table:
        table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
        for name in ("arm", "done", "running", "stopped", "diverged", "best val"):
            table.add_column(name, justify="left" if name == "arm" else "right")
        states = list(self._queue.arms.values())
        if len(states) > ROWS_SHOWN:
            states = sorted(states, key=lambda state: -len(state.live))[:ROWS_SHOWN]
        for state in states:
            arm_id = state.arm.arm_id
            counts = self._by_arm.get(arm_id, Counter())
            best = self._best.get(arm_id)
            table.add_row(
                printable(arm_id),
                str(len(state.done)),
                str(len(state.live)),
                str(counts[STOPPED]),
                str(counts[DIVERGED]),
                "-" if best is None else f"{best:.4f}",
            )
        return table


def _minutes(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60}:{minutes % 60:02}:{rest:02}" if minutes >= 60 else f"{minutes}:{rest:02}"
