"""Listener of Ray Tune, for what happens to trials while they run."""

import time
from collections.abc import Callable
from typing import Any

from ray.tune import Callback

from tune_qat.tuning.process_failures import failure_of
from tune_qat.tuning.ray_report import unpack
from tune_qat.tuning.searcher import StudySearcher

LOOK_S = 5.0
"""Seconds between checks for nodes that came or went, and for trials that Ray has given up."""


class Reports(Callback):
    """Callback of Ray Tune that passes reports on, and notices lost trials and nodes that come and go."""

    def __init__(
        self, searcher: StudySearcher, room: Callable[[], int], say: Callable[[str], Any] = lambda text: None
    ) -> None:
        """Call `room` for the number of trials that fit on the nodes; call `say` with what a trial found damaged."""
        self._searcher, self._room, self._say = searcher, room, say
        self._looked = time.monotonic()
        self._remarks: set[str] = set()

    def __getstate__(self) -> dict[str, Any]:
        return {}

    def on_trial_start(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        # Not at the first result, which comes an epoch later: a second process would idle until then.
        self._searcher.started(trial.trial_id, trial.temporary_state.ray_actor._actor_id.hex())

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        plan = self._searcher.plans.get(trial.trial_id)
        if plan is not None:
            report = unpack(result)
            self._searcher.tell("epoch", plan, report)
            if report.get("set_aside") and report["epoch"] == 1:
                self._say(report["set_aside"])
            # Of a model that cannot be compiled every trial says so.
            if report.get("remark") and report["remark"] not in self._remarks:
                self._remarks.add(report["remark"])
                self._say(report["remark"])

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self._searcher.lost(trial.trial_id, failure_of(trial))

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Find trials that an error inside Ray ended without a callback: the study would wait for them for ever."""
        if self._searcher.stopped:
            # At once: Ray Tune takes up to ten seconds to end its processes, and the user may not wait.
            self._searcher.interrupt()
        if time.monotonic() - self._looked < LOOK_S:
            return
        self._looked = time.monotonic()
        self._searcher.room(self._room())
        for trial in trials:
            if trial.status == "ERROR" and trial.trial_id in self._searcher.plans:
                self._searcher.lost(trial.trial_id, failure_of(trial))
