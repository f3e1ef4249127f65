"""One start of a running study: the weights that the arms of some repeats begin from, or the trial that makes them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from tune_qat.config import TrialConfig
from tune_qat.config.statuses import PRETRAIN
from tune_qat.study import Study
from tune_qat.study.starts import starts_of
from tune_qat.study.worsened_start import worsened_starts_of
from tune_qat.tuning.plan import PRETRAIN_ARM, PlannedTrial, Planner


@dataclass
class StartState:
    """A start, and whether its arms may begin."""

    repeats: tuple[int, ...]
    """Repeats whose arms begin from it."""
    planner: Planner
    """Planner of its arms' trials; it lacks the hash of weights that are still to be made."""
    plan: PlannedTrial | None
    """Trial that makes the weights; None where they are random, or there already."""
    row: Mapping[str, Any] | None = None
    """Row of that trial once its checkpoint is known to be whole."""
    live: bool = False
    """Whether that trial runs."""
    known: bool = False
    """Whether the weights are known, so that arms may begin."""
    control_for: str | None = None
    """Bits whose worsened control begins from it; None for the start of all other arms."""
    made_of: "StartState | None" = None
    """Start that a worsened one is made of: before that is known it has no plan."""
    config: TrialConfig | None = None
    """Trial that worsens it."""
    number: int = 0

    def begin_from(self, sha256: str | None, row: Mapping[str, Any] | None = None) -> None:
        """Let arms begin, now that the weights with this hash are there; `row` is that of the trial that made them."""
        self.row, self.live, self.known = row, False, True
        if self.plan is not None:
            self.planner = replace(self.planner, init_sha256=sha256, start_key=self.plan.trial_key)

    def follow(self) -> None:
        """Plan how a worsened start is made, once the start that it is made of is known."""
        if self.plan is None and self.config is not None and self.made_of is not None and self.made_of.known:
            self.planner = self.made_of.planner
            self.plan = self.planner.of_config(self.config, PRETRAIN_ARM, PRETRAIN, {}, number=self.number)


def start_states(study: Study, planner: Planner) -> list[StartState]:
    """Return the starts of a study, of which those without a trial are known; worsened ones come last."""
    found = list[StartState]()
    for start in starts_of(study):
        plan, of_arms = None, planner
        if start.config is not None:
            plan = planner.of_config(start.config, PRETRAIN_ARM, PRETRAIN, {}, number=len(found))
            # Given weights are what this trial begins from; its arms begin from what it makes of them.
            of_arms = replace(planner, init_sha256=None)
        found.append(StartState(repeats=start.repeats, planner=of_arms, plan=plan, known=plan is None))
    for number, start in enumerate(worsened_starts_of(study), start=len(found)):
        made_of = next(one for one in found if start.repeats[0] in one.repeats)
        worsened = StartState(
            repeats=start.repeats,
            planner=planner,
            plan=None,
            control_for=start.control_for,
            made_of=made_of,
            config=start.config,
            number=number,
        )
        worsened.follow()
        found.append(worsened)
    return found
