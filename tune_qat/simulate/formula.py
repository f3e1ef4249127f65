"""Curves from a formula: a stand-in for a record, which claims nothing about any network.

With learning rate `r`, batch size `B`, middle batch size `M`, epoch `n`, and the other searched dimensions `z` on
axes from 0 to 1, an epoch's score is `1 - e`:

    d = log10(r / r*),  r* = middle of the optimizer's range x 10^s x sqrt(B / M),  s in -0.5 .. 0.5 for each arm
    e(n) = floor + bowl + (0.9 - floor) x m^(-a) + noise,  m = 1 + n x sqrt(M / B)
    floor = 0.02 + 0.3 x 2^(-bits of weights)
    bowl = 0.1 x d^2 (0.02 x d^2 below r*) + 0.02 x sum of (z - 1/2)^2
    a = 0.9 x 10^(min(d, 0) / 3)

A rate below the best learns slowly and ends near the floor; one above it is as fast and ends higher, so that curves
cross; above d = 1.5 (slightly varied by the trial's key) a trial diverges in its first half. Noise is normal, 0.003 of
the trial and 0.01 / sqrt(n) of the epoch, and seeded by the trial's key: it is the same at every call.

Source: curves are the power law `c - a x n^(-alpha)` of Domhan et al. (IJCAI 2015, pow3) and Hestness et al. (2017,
arXiv 1712.00409); that the best rate grows with the square root of the batch is Krizhevsky's rule (2014, arXiv
1404.5997, section 5). The numbers are made up, and so
are the costs of a scheme, by its bits of weights W and of activations A: W x 1000 bytes of weights, the same as stored,
A x 1000 bytes of activations, and W x A x 1e6 bit operations.
"""

import hashlib
import math
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import product

import numpy as np

from tune_qat.config import Range, Scheme, TrialConfig, trial_key
from tune_qat.config.statuses import COMPLETED, DIVERGED, PRETRAIN
from tune_qat.simulate.curves import Curve
from tune_qat.simulate.recorded_curves import unit
from tune_qat.study import Arm, Study
from tune_qat.study.objectives import COSTS
from tune_qat.study.space import BATCH_SIZE, BITS_INDEX
from tune_qat.tuning.objective import Objective
from tune_qat.tuning.objectives import Objectives
from tune_qat.tuning.plan import PlannedTrial, Planner

STAND_IN_DATA = {"data_fingerprint": "stand-in", "split_fingerprint": "stand-in"}
EPOCH_S = 60.0
"""Seconds of an epoch at the middle batch size; the fraction 0.6 does not depend on the batch size."""
EDGE = 1.5
MARGIN = 0.005
"""Difference of the score that does not matter; the study's own margin is in its metric's unit."""


@dataclass(frozen=True, kw_only=True)
class ClosedForm:
    """Formula of one study as `Curves`; the metric is a score between 0 and 1."""

    study: Study
    objective: Objective = Objective(sign=1, worst=0.0)

    @classmethod
    def of(cls, study: Study) -> "ClosedForm":
        """Make the curves of a study."""
        return cls(study=study)

    def objectives(self, study: Study) -> Objectives:
        """Return the objectives of a study, with costs that are made up."""
        return Objectives.of_study(study, {scheme: _costs(scheme) for scheme in study.schemes})

    def start_sha256(self, number: int) -> str | None:
        """Return the name that starting weights have here, if there are any."""
        return None if self.study.training.init == "scratch" else f"stand-in-{number}" if number else "stand-in"

    def key(self, config: TrialConfig, stage: str, init_checkpoint_sha256: str | None) -> str:
        return trial_key(config, stage, **STAND_IN_DATA, init_checkpoint_sha256=init_checkpoint_sha256)

    def curve(self, plan: PlannedTrial) -> Curve:
        config = plan.config
        random = np.random.default_rng(int(plan.trial_key, 16))
        epochs = np.arange(1, config.epochs + 1)
        noise = 0.003 * random.standard_normal() + 0.01 / np.sqrt(epochs) * random.standard_normal(config.epochs)
        edge = EDGE + 0.1 * random.standard_normal()
        metrics: list[float | None] = [float(value) for value in np.clip(self._scores(config, epochs) + noise, 0, 1)]
        # The pretrained start never diverges: that would end the study.
        diverged = self._off(config) > edge and plan.stage != PRETRAIN
        if diverged:
            metrics = [*metrics[: int(random.integers(0, max(1, config.epochs // 2)))], None]
        seconds = (EPOCH_S * (0.6 + 0.4 * self._middle / config.batch_size),) * len(metrics)
        return Curve(
            metrics=tuple(metrics),
            seconds=seconds,
            device_seconds=seconds,
            status=DIVERGED if diverged else COMPLETED,
            source="formula",
            known_epochs=len(metrics),
        )

    def worth(self, plan: PlannedTrial) -> float | None:
        """Return the final score without noise, also of a trial that diverges."""
        return self._final(plan.config)

    def best(self, arm: Arm) -> float:
        """Return the best final score: for each batch size the best rate within its range, and other values midway."""
        sizes = self.study.space.batch_size
        powers = [2**power for power in range(sizes.low.bit_length() - 1, sizes.high.bit_length())]
        return max(
            self._final(self._best_config(arm, optimizer, position, batch_size))
            for optimizer, position in product(arm.optimizers, range(len(arm.schemes)))
            for batch_size in powers
        )

    def _best_config(self, arm: Arm, optimizer: str, position: int, batch_size: int) -> TrialConfig:
        dimensions = self._planner.dimensions(optimizer)
        values = {name: _middle(bounds) for name, bounds in dimensions.items()}
        values |= {BATCH_SIZE: batch_size, BITS_INDEX: position}
        config = self.study.config(arm, optimizer, values, seed=0)
        if "learning_rate" not in dimensions:
            return config
        bounds = dimensions["learning_rate"]
        best = config.learning_rate * 10 ** -self._off(config)
        return replace(config, learning_rate=min(max(best, bounds.low), bounds.high))

    def _final(self, config: TrialConfig) -> float:
        return float(self._scores(config, np.array([config.epochs]))[0])

    def _scores(self, config: TrialConfig, epochs: np.ndarray) -> np.ndarray:
        """Compute the score after each of the epochs, shape (epochs,), without noise."""
        off, dimensions = self._off(config), self._planner.dimensions(config.optimizer)
        others = {name: config.optimizer_options.get(name) for name in dimensions}
        sides = [unit(value, name, dimensions[name]) - 0.5 for name, value in others.items() if value is not None]
        floor = 0.02 + 0.3 * 2.0**-config.scheme.weight_bits
        bowl = (0.1 if off > 0 else 0.02) * off**2 + 0.02 * sum(side**2 for side in sides)
        steps = 1 + epochs * math.sqrt(self._middle / config.batch_size)
        return np.asarray(1 - floor - bowl - (0.9 - floor) * steps ** -(0.9 * 10 ** (min(off, 0.0) / 3)))

    def _off(self, config: TrialConfig) -> float:
        """Return by how many decades the rate is above the best at this batch size; 0 if no rate is searched."""
        bounds = self._planner.dimensions(config.optimizer).get("learning_rate")
        if bounds is None:
            return 0.0
        name = f"{config.optimizer}/{config.scheme.label}"
        shift = int(hashlib.sha256(name.encode()).hexdigest()[:8], 16) / 2**32 - 0.5
        best = math.log10(_middle(bounds)) + shift + math.log10(config.batch_size / self._middle) / 2
        return math.log10(config.learning_rate) - best

    @property
    def _middle(self) -> int:
        return self.study.space.batch_size.middle

    @cached_property
    def _planner(self) -> Planner:
        return Planner(study=self.study, work=self)


def _costs(scheme: Scheme) -> dict[str, float]:
    weights, activations = scheme.weight_bits, scheme.activation_bits
    values = (weights * 1e3, weights * 1e3, activations * 1e3, weights * activations * 1e6)
    return dict(zip(COSTS, values, strict=True))


def _middle(bounds: Range) -> float:
    return math.sqrt(bounds.low * bounds.high) if bounds.log else (bounds.low + bounds.high) / 2
