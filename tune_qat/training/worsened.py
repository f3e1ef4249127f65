"""Starts made worse by noise, for a control: 32/32 from where a quantized model begins, with nothing quantized."""

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import nn

from tune_qat.config import EAGER, SEEDS, EpochResult, StudyHalted, TrialConfig, TuneQatError, UsageError, stable_hash
from tune_qat.config.statuses import COMPLETED, RUNNING
from tune_qat.data.task import Evaluation, Task
from tune_qat.storage.paths import StoragePath
from tune_qat.training.device import device_clock
from tune_qat.training.loop import Training
from tune_qat.training.parameter_groups import parameter_groups
from tune_qat.training.scores import known
from tune_qat.training.workload import Workload

FIRST = 2.0**-10
"""Noise that is tried first, in standard deviations of a tensor: it changes no score, and makes the weights others."""
DOUBLINGS, HALVINGS = 18, 20


class OutOfReachError(Exception):
    """No noise that was tried brings the metric near enough; `nearest` is the best that it came to."""

    def __init__(self, nearest: float) -> None:
        super().__init__(nearest)
        self.nearest = nearest


def noise_factor(metric_of: Callable[[float], float], target: float, *, within: float, sign: int) -> float:
    """Find how much noise makes a metric as bad as `target`, by doubling from `FIRST` and then by bisection.

    Args:
        metric_of: metric at a factor of the noise, which gets worse as the factor grows but need not fall all the way.
        target: metric to reach.
        within: largest difference from it, both in the metric's unit.
        sign: 1 where larger is better, -1 where smaller is.

    Raises `OutOfReachError` where neither the doublings nor the bisection come near enough.
    """
    low, high, nearest = 0.0, float("inf"), float("nan")
    factor = FIRST
    for _ in range(DOUBLINGS + HALVINGS):
        found = metric_of(factor)
        if abs(found - target) <= within:
            return factor
        if not abs(found - target) >= abs(nearest - target):
            nearest = found
        if sign * found > sign * target:
            low = factor
        else:  # worse, or a NaN
            high = factor
        if low >= FIRST * 2.0**DOUBLINGS:
            break
        factor = 2 * low if high == float("inf") else (low + high) / 2
    raise OutOfReachError(nearest)


def unit_noise(model: nn.Module, seed: int) -> list[tuple[nn.Parameter, torch.Tensor]]:
    """Draw Gaussian noise for each weight (of convolutions and linear layers) with that weight's standard deviation."""
    generator = torch.Generator().manual_seed(seed)
    found = []
    for weight in parameter_groups(model).weights:
        drawn = torch.randn(weight.shape, generator=generator).to(weight.device)
        found.append((weight, drawn * weight.detach().std(correction=0)))
    return found


class Worsened:
    """Trial that adds noise to the weights of a start, in one epoch without a step, with what `Training` offers.

    The noise is as large as brings the validation metric of the floating-point model within `worsening.within` of that
    of the model which `worsening.scheme` makes of the same start, calibrated on the batch of this seed and batch size.
    The epoch's `calibrated_metric` is that model's, `val_metric` what the noise came to.
    """

    backend: str | None = None
    """None: nothing is compiled, and other trials need not do without for that."""
    why_not_compiled: str | None = None
    remark = ""
    """Remark on a first step: there is none."""

    def __init__(
        self,
        config: TrialConfig,
        work: Workload,
        *,
        device: str = "cpu",
        init: StoragePath | None = None,
        task: Task | None = None,
        backend: str = EAGER,
    ) -> None:
        """Load the weights of `init`; nothing is compiled, whatever `backend` says.

        Raises:
            UsageError: no start is given.
            TuneQatError: as `Training`.
        """
        if config.worsening is None or init is None:
            raise UsageError("A worsened start needs another to begin from (init).")
        self.config, self._worsening = config, config.worsening
        self._task = task or work.task(device)

        def begun(**changes: Any) -> Training:
            plain = replace(config, worsening=None, **changes)
            return Training(plain, work, device=device, init=init, task=self._task)

        self._begun, self._training = begun, begun()
        self.epoch = 0

    @property
    def status(self) -> str:
        return COMPLETED if self.epoch else RUNNING

    def epochs(self, *, test: bool = False) -> Iterator[EpochResult]:
        """Make the start, and yield the result of that.

        Raises `StudyHalted` with the figures if no noise brings the metric near enough.
        """
        if self.status == RUNNING:
            yield self._make()

    def state_dict(self) -> dict[str, Any]:
        """Return the worsened weights, as the state of a floating-point trial has them."""
        return {**self._training.state_dict(), "config": self.config.identity(), "epoch": self.epoch}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take over a start that is made already; raise `TuneQatError` for the state of another configuration."""
        if state.get("config") != self.config.identity():
            raise TuneQatError("The checkpoint belongs to another trial: its configuration is not this trial's.")
        self._training.model.load_state_dict(state["model"])
        self.epoch = state["epoch"]

    def _make(self) -> EpochResult:
        device = self._training.device
        began, held = time.perf_counter(), device_clock(device)
        target = self._begun(scheme=self._worsening.scheme).evaluate("val").metric
        reached = self._worsen(target)
        self.epoch = 1
        return EpochResult(
            epoch=1,
            status=COMPLETED,
            step=0,
            examples=0,
            learning_rate=self.config.learning_rate,
            train_loss=None,
            train_metric=None,
            val_loss=known(reached.loss),
            val_metric=reached.metric,
            val_top5=reached.top5,
            calibrated_metric=known(target),
            grad_norm=None,
            grad_norm_max=None,
            clip_fraction=None,
            nonfinite_steps=0,
            wall_s=time.perf_counter() - began,
            device_s=device_clock(device) - held,
        )

    def _worsen(self, target: float) -> Evaluation:
        """Leave the model with as much noise as is wanted, and return its evaluation."""
        training, within = self._training, self._worsening.within
        start, label = training.evaluate("val").metric, self._worsening.scheme.label
        noise = unit_noise(training.model, int(stable_hash([self.config.seed, label]), 16) % SEEDS)
        weights = [weight.detach().clone() for weight, _ in noise]

        @torch.no_grad()
        def with_noise(factor: float) -> Evaluation:
            for (weight, drawn), before in zip(noise, weights, strict=True):
                weight.copy_(before + factor * drawn)
            return training.evaluate("val")

        def metric_of(factor: float) -> float:
            return with_noise(factor).metric

        try:
            return with_noise(noise_factor(metric_of, target, within=within, sign=self._task.sign))
        except OutOfReachError as error:
            bits = f"{self._worsening.scheme.weight_bits}/{self._worsening.scheme.activation_bits}"
            raise StudyHalted(
                f"The worsened control of {bits} bits cannot be made: the calibrated model has {target:.6g} on "
                f"validation data and the start {start:.6g}; with noise on its weights the start came to "
                f"{error.nearest:.6g}, and not within {within:.3g}, a quarter of judgement.margin. Leave {bits} out "
                "of the bits of [[controls]], and run the study again: nothing recorded is lost."
            ) from None


def trial_of(config: TrialConfig, work: Workload, **how: Any) -> Training | Worsened:
    """Make a trial: one that trains, or one that worsens a start. Arguments and errors as theirs."""
    return Worsened(config, work, **how) if config.worsening else Training(config, work, **how)
