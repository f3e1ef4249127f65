"""Curves of a record: a simulated trial has the curve of the same configuration, or of the nearest one.

This is like Syne Tune's tabulated blackboxes with a nearest-neighbour surrogate, on the record of one study.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np

from tune_qat.config import Range, Scheme, TrialConfig, UsageError
from tune_qat.config.statuses import (
    COMPLETED,
    DEFAULT,
    FINALISTS,
    PRETRAIN,
    RANDOM,
    RETRAIN,
    SEARCHED_STAGES,
    STAGES,
    STOPPED,
)
from tune_qat.results.early_stopping import Unstopped
from tune_qat.simulate.curves import Curve
from tune_qat.study import Arm, Study
from tune_qat.study.arms import variant_in
from tune_qat.study.space import BATCH_SIZE, Dimensions
from tune_qat.tuning.costs import objectives_of
from tune_qat.tuning.objective import Objective
from tune_qat.tuning.objectives import Objectives
from tune_qat.tuning.plan import DataDraws, PlannedTrial, RecordedData, option_values

Key = tuple[str, Scheme, str]
"""Optimizer, scheme, and the word in the arm's id that sets it apart from others of these two, or nothing."""
SAME = 1e-9
"""Distance below which two points of the search space are the same, but for rounding."""
LENDING = {FINALISTS: (*SEARCHED_STAGES, FINALISTS), RETRAIN: STAGES}
"""Stages whose curves a trial of this stage may get; one of another stage gets those of searched trials."""


@dataclass(frozen=True, kw_only=True)
class RecordedTrial:
    """Trial of the record with its curve."""

    trial_key: str
    arm_id: str
    stage: str
    config: TrialConfig
    status: str
    """Status: completed, diverged, or stopped by ASHA with a curve that is cut short."""
    metrics: tuple[float | None, ...]
    seconds: tuple[float, ...]
    """Wall-clock time of each epoch."""
    device_seconds: tuple[float, ...]

    @property
    def curve(self) -> Curve:
        """Curve as far as it is recorded."""
        return Curve(
            metrics=self.metrics,
            seconds=self.seconds,
            device_seconds=self.device_seconds,
            status=self.status,
            source="recorded",
            known_epochs=len(self.metrics),
        )


class Group:
    """Recorded trials of one optimizer and scheme, as points of the normalised search space.

    Where a search over bits has none of these, they are borrowed from the nearest bits, and from other optimizers.
    """

    def __init__(
        self, trials: Sequence[RecordedTrial], spaces: Mapping[str, Dimensions], sign: int, *, borrowed: bool = False
    ) -> None:
        """Take `trials` as points by the dimensions of their optimizers, `spaces`, whose names are the same in all."""
        self.borrowed = borrowed
        searched = [trial for trial in trials if trial.stage in SEARCHED_STAGES]
        self.whole = [trial for trial in searched if trial.status == COMPLETED]
        """Completed trials, without those of `finalists` and `retrain`, which are many seeds of few configurations."""
        self.trials, self._spaces, self._sign = trials, spaces, sign
        self._points = _points(trials, spaces)
        self._stages = np.array([trial.stage for trial in trials])
        self._whole_points = _points(self.whole, spaces)
        self._by_key = {trial.trial_key: trial for trial in trials}
        self._curves: dict[str, Curve] = {}

    def curve(self, plan: PlannedTrial) -> Curve:
        """Return the curve of the same trial, else of the same configuration, else of the nearest one.

        A searched trial gets that of a searched one alone. A finalist gets those of a recorded finalist; where the
        record has not trained this configuration again, that of the searched trial: its luck stays what it was.
        """
        if plan.trial_key in self._by_key:
            return self._curve(self._by_key[plan.trial_key])
        distances = np.linalg.norm(self._points - self._position(plan.config), axis=1)
        lending = np.isin(self._stages, LENDING.get(plan.stage, SEARCHED_STAGES))
        if lending.any():
            distances[~lending] = np.inf
        shortest = float(distances.min())
        # Seeds of one configuration are equally near: the hash chooses one of them, always the same.
        near = [self.trials[int(index)] for index in np.flatnonzero(distances <= shortest + SAME)]
        near = [trial for trial in near if trial.stage == plan.stage == FINALISTS] or near
        curve = self._curve(min(near, key=lambda trial: _hash(trial.trial_key, plan.trial_key)))
        return curve if shortest < SAME and not self.borrowed else replace(curve, source="neighbour")

    def _position(self, config: TrialConfig) -> np.ndarray:
        return position(config, self._spaces[config.optimizer])

    def _curve(self, trial: RecordedTrial) -> Curve:
        if trial.trial_key not in self._curves:
            self._curves[trial.trial_key] = self._to_its_end(trial)
        return self._curves[trial.trial_key]

    def _to_its_end(self, trial: RecordedTrial) -> Curve:
        """Return the recorded curve; one that ASHA stopped goes on parallel to the nearest whole curve.

        The early epochs of a stopped trial are real, and ASHA decides there: a record without stopped trials would be
        biased to survivors. No extrapolated metric is better than the best that a whole curve reached at its epoch.
        """
        if trial.status != STOPPED:
            return trial.curve
        metrics, known, shape = list(trial.metrics), len(trial.metrics), self._shape(trial)
        for epoch in range(known, trial.config.epochs):
            metrics.append(self._next(metrics[-1], shape[epoch - 1], shape[epoch], epoch))
        missing = len(metrics) - known
        return replace(
            trial.curve,
            metrics=tuple(metrics),
            seconds=(*trial.seconds, *[float(np.mean(trial.seconds))] * missing),
            device_seconds=(*trial.device_seconds, *[float(np.mean(trial.device_seconds))] * missing),
            status=COMPLETED,
        )

    def _shape(self, trial: RecordedTrial) -> Sequence[float | None]:
        """Return the nearest whole curve; a flat one if there is none."""
        if not self.whole:
            return [None] * trial.config.epochs
        away = np.linalg.norm(self._whole_points - self._position(trial.config), axis=1)
        return self.whole[int(away.argmin())].metrics

    def _next(self, last: float | None, before: float | None, after: float | None, epoch: int) -> float | None:
        if last is None or before is None or after is None:
            return last
        reached = [self._sign * value for one in self.whole if (value := one.metrics[epoch]) is not None]
        return self._sign * min(self._sign * (last + after - before), max(reached))


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """Record of one study as `Curves`."""

    objective: Objective
    data: DataDraws[RecordedData]
    starts: Sequence[str | None]
    """Hashes of the weights that arms begin from, by the number of the start."""
    groups: Mapping[Key, Group]
    pretrained: Mapping[str, Curve]
    """Curves of the `pretrain` trials, by key."""
    costs: Sequence[Mapping[str, Any]] = ()
    """Recorded costs of layers in each scheme; none in earlier records."""
    stopped_early: bool
    """Whether ASHA stopped search trials, so that whole curves are those of survivors."""

    def key(self, config: TrialConfig, stage: str, init_checkpoint_sha256: str | None) -> str:
        return self.data.key(config, stage, init_checkpoint_sha256)

    def objectives(self, study: Study) -> Objectives:
        """Return the objectives of a study, with the recorded costs."""
        if study.search.objectives is not None and not self.costs:
            raise UsageError(
                f"search.objectives: the record of study {study.name!r} does not say what its schemes cost. "
                "`tune-qat cost RESULTS` works it out."
            )
        return objectives_of(study, lambda: self.costs)

    def start_sha256(self, number: int) -> str | None:
        return self.starts[number]

    def curve(self, plan: PlannedTrial) -> Curve:
        if plan.stage == PRETRAIN:
            # With other seeds than the recorded ones it is another trial, and as long.
            return self.pretrained.get(plan.trial_key) or next(iter(self.pretrained.values()))
        return self.groups[plan.config.optimizer, plan.config.scheme, variant_in(plan.arm_id)].curve(plan)

    def worth(self, plan: PlannedTrial) -> float | None:
        """Return the final metric of the curve; the noise of its seed is not known."""
        return self.curve(plan).end

    def best(self, arm: Arm) -> float | None:
        sign = self.objective.sign
        ends = [sign * end for trial in self.whole(arm) if (end := trial.metrics[-1]) is not None]
        return sign * max(ends) if ends else None

    def whole(self, arm: Arm) -> list[RecordedTrial]:
        """Return the completed trials of the arm's configurations before `retrain`."""
        return [trial for group in self._own(arm) for trial in group.whole]

    def _own(self, arm: Arm) -> list[Group]:
        """Return the groups whose trials are the arm's own, each once."""
        return [group for key in keys_of(arm) if not (group := self.groups[key]).borrowed]

    def unstopped(self, arm: Arm) -> list[Unstopped]:
        """Return the arm's own default and random trials, which nothing stopped."""
        own = (trial for group in self._own(arm) for trial in group.trials if trial.arm_id == arm.arm_id)
        free = (trial for trial in own if trial.stage in (DEFAULT, RANDOM) and trial.status != STOPPED)
        return [unstopped(trial.curve, self.objective) for trial in free]


def keys_of(arm: Arm) -> list[Key]:
    """Return the groups that an arm's trials are in; repeats share them."""
    return list(product(arm.optimizers, arm.schemes, [variant_in(arm.arm_id)]))


def unstopped(curve: Curve, objective: Objective) -> Unstopped:
    """Return a curve as evidence on rungs; one that diverged ends with the score of the constant predictor."""
    signed = [None if metric is None else objective.of(metric) for metric in curve.metrics]
    return Unstopped(signed, objective.score_of({"status": curve.status, "val_metric": curve.end}))


def position(config: TrialConfig, dimensions: Dimensions) -> np.ndarray:
    """Return a configuration's point in the search space, shape (dimensions,), within 0 to 1 inside the ranges."""
    values = option_values(config)
    # Searched bits are no axis: a group has one scheme.
    return np.array([unit(values[name], name, bounds) for name, bounds in dimensions.items() if name in values])


def _points(trials: Sequence[RecordedTrial], spaces: Mapping[str, Dimensions]) -> np.ndarray:
    """Return the points of trials, shape (trials, dimensions)."""
    return np.array([position(trial.config, spaces[trial.config.optimizer]) for trial in trials])


def unit(value: float, name: str, bounds: Range) -> float:
    """Scale a value to its axis: 0 at the low end of the range and 1 at the high end."""
    low, high = bounds.low, bounds.high
    if bounds.log or name == BATCH_SIZE:
        value, low, high = math.log(value), math.log(low), math.log(high)
    return (value - low) / (high - low) if high > low else value - low


def _hash(*parts: str) -> str:
    return hashlib.sha256("/".join(parts).encode()).hexdigest()
