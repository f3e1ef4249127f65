"""Curves of a record: each simulated trial gets that of the same configuration, or of the nearest one.

As the tabulated blackboxes of Syne Tune with a nearest-neighbour surrogate, over what a study has left behind.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from tune_qat.config import Range, Scheme, TrialConfig, trial_key
from tune_qat.config.statuses import COMPLETED, DIVERGED, PRETRAIN, RETRAIN, STOPPED
from tune_qat.simulate.curves import Curve
from tune_qat.study import Arm
from tune_qat.study.space import BATCH_SIZE, Dimensions
from tune_qat.tuning.objective import Objective
from tune_qat.tuning.plan import Plan

SAME = 1e-9
"""Distance below which two points of the search space are one: what rounding leaves."""


@dataclass(frozen=True, kw_only=True)
class RecordedTrial:
    """A trial of the record with its curve."""

    trial_key: str
    stage: str
    config: TrialConfig
    status: str
    """completed, diverged, or stopped by ASHA, so that its curve is cut short."""
    metrics: tuple[float | None, ...]
    seconds: tuple[float, ...]
    """Of each epoch, on the clock."""
    device_seconds: tuple[float, ...]


class Group:
    """The recorded trials of one optimizer at one scheme, as points of the normalised search space."""

    def __init__(self, trials: Sequence[RecordedTrial], dimensions: Dimensions, sign: int) -> None:
        searched = [trial for trial in trials if trial.stage != RETRAIN]
        self.whole = [trial for trial in searched if trial.status == COMPLETED]
        """Those that ran to their last epoch, without `retrain`, whose seeds are many tries of one configuration."""
        self._trials, self._dimensions, self._sign = trials, dimensions, sign
        self._points = _points(trials, dimensions)
        self._searched = np.array([trial.stage != RETRAIN for trial in trials])
        self._whole_points = _points(self.whole, dimensions)
        self._by_key = {trial.trial_key: trial for trial in trials}
        self._curves: dict[str, Curve] = {}

    def curve(self, plan: Plan) -> Curve:
        """That of the very trial, of the same configuration with another seed, or of the nearest configuration.

        Seeds of `retrain` are for `retrain` alone.
        """
        if plan.trial_key in self._by_key:
            return self._curve(self._by_key[plan.trial_key])
        distances = np.linalg.norm(self._points - position(plan.config, self._dimensions), axis=1)
        if plan.stage != RETRAIN and self._searched.any():
            distances[~self._searched] = np.inf
        shortest = float(distances.min())
        # Seeds of one configuration are equally near; the hash takes one of them, always the same.
        near = [self._trials[int(index)] for index in np.flatnonzero(distances <= shortest + SAME)]
        curve = self._curve(min(near, key=lambda trial: _hash(trial.trial_key, plan.trial_key)))
        return curve if shortest < SAME else replace(curve, source="neighbour")

    def _curve(self, trial: RecordedTrial) -> Curve:
        if trial.trial_key not in self._curves:
            self._curves[trial.trial_key] = self._to_its_end(trial)
        return self._curves[trial.trial_key]

    def _to_its_end(self, trial: RecordedTrial) -> Curve:
        """The curve as recorded; where ASHA has stopped it, in parallel to the nearest whole one from there on.

        A stopped trial has true early epochs, which is where ASHA decides, and a record without it would be one of
        survivors. But nothing extrapolated may look better than what was reached.
        """
        known = len(trial.metrics)
        metrics = list(trial.metrics)
        missing = trial.config.epochs - known if trial.status == STOPPED else 0
        shape = self._shape(trial) if missing else metrics
        for epoch in range(known, known + missing):
            metrics.append(self._next(metrics[-1], shape[epoch - 1], shape[epoch], epoch))
        return Curve(
            metrics=tuple(metrics),
            seconds=(*trial.seconds, *[float(np.mean(trial.seconds))] * missing),
            device_seconds=(*trial.device_seconds, *[float(np.mean(trial.device_seconds))] * missing),
            status=DIVERGED if trial.status == DIVERGED else COMPLETED,
            source="recorded",
            known_epochs=known,
        )

    def _shape(self, trial: RecordedTrial) -> Sequence[float | None]:
        """The nearest whole curve; a level one where there is none."""
        if not self.whole:
            return [None] * trial.config.epochs
        away = np.linalg.norm(self._whole_points - position(trial.config, self._dimensions), axis=1)
        return self.whole[int(away.argmin())].metrics

    def _next(self, last: float | None, before: float | None, after: float | None, epoch: int) -> float | None:
        if last is None or before is None or after is None:
            return last
        reached = [self._sign * value for one in self.whole if (value := one.metrics[epoch]) is not None]
        return self._sign * min(self._sign * (last + after - before), max(reached))


@dataclass(frozen=True, kw_only=True)
class Recorded:
    """The record of one study as `Curves`."""

    objective: Objective
    init_sha256: str | None
    data_fingerprint: str
    split_fingerprint: str
    groups: Mapping[tuple[str, Scheme], Group]
    start: Curve | None
    """Of the `pretrain` trial."""
    stopped_early: bool
    """Whether ASHA has had a say in which search trials are whole."""

    def key(self, config: TrialConfig, stage: str, init_checkpoint_sha256: str | None) -> str:
        """As on the recorded data."""
        return trial_key(
            config,
            stage,
            data_fingerprint=self.data_fingerprint,
            split_fingerprint=self.split_fingerprint,
            init_checkpoint_sha256=init_checkpoint_sha256,
        )

    def curve(self, plan: Plan) -> Curve:
        """See `Group.curve`."""
        if plan.stage == PRETRAIN:
            assert self.start is not None
            return self.start
        return self.groups[plan.config.optimizer, plan.config.scheme].curve(plan)

    def worth(self, plan: Plan) -> float | None:
        """What the curve ends with: a record knows no more of a configuration."""
        return self.curve(plan).end

    def best(self, arm: Arm) -> float | None:
        """Of all completed trials of the arm's configurations before `retrain`."""
        sign = self.objective.sign
        ends = [sign * end for trial in self.whole(arm) if (end := trial.metrics[-1]) is not None]
        return sign * max(ends) if ends else None

    def whole(self, arm: Arm) -> list[RecordedTrial]:
        """The completed trials of the arm's configurations before `retrain`."""
        return [
            trial
            for optimizer in arm.optimizers
            for scheme in arm.schemes
            for trial in self.groups[optimizer, scheme].whole
        ]


def position(config: TrialConfig, dimensions: Dimensions) -> np.ndarray:
    """A configuration in the search space of its optimizer, shape (dimensions,): from 0 to 1, beyond it outside."""
    values = {
        **config.optimizer_options,
        "learning_rate": config.learning_rate,
        BATCH_SIZE: config.batch_size,
        "quantizer_lr_multiplier": config.quantizer_lr_multiplier,
    }
    # Searched bits are in the group already.
    return np.array([unit(values[name], name, bounds) for name, bounds in dimensions.items() if name in values])


def _points(trials: Sequence[RecordedTrial], dimensions: Dimensions) -> np.ndarray:
    """A row for each trial, shape (trials, dimensions)."""
    return np.array([position(trial.config, dimensions) for trial in trials])


def unit(value: float, name: str, bounds: Range) -> float:
    """A value on its own axis, 0 at the low end of the range and 1 at the high end."""
    low, high = bounds.low, bounds.high
    if bounds.log or name == BATCH_SIZE:
        value, low, high = math.log(value), math.log(low), math.log(high)
    return (value - low) / (high - low) if high > low else value - low


def _hash(*parts: str) -> str:
    return hashlib.sha256("/".join(parts).encode()).hexdigest()
