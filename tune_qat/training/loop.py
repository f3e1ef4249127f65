"""The training loop of one configuration, the same alone, in a notebook and inside a study. It prints nothing."""

import math
import time
from collections.abc import Iterator, Mapping
from typing import Any

import torch

from tune_qat.config import EAGER, EpochResult, TrialConfig, TuneQatError, UsageError, check_backend
from tune_qat.config.statuses import COMPLETED, DIVERGED, RUNNING
from tune_qat.data.task import Evaluation, Task
from tune_qat.optimizers.joined import Optimizer
from tune_qat.quantization.layer_rows import layer_results
from tune_qat.quantization.model import calibrate, features, quantize, quantized_layers
from tune_qat.storage.paths import StoragePath
from tune_qat.training import batch_norm
from tune_qat.training.checkpoints import start_from, weights_sha256
from tune_qat.training.compile_cost import CompileEstimate, of_one_trial
from tune_qat.training.compiler import choose_backend
from tune_qat.training.cpu import replace_modules
from tune_qat.training.device import device_clock, seeded
from tune_qat.training.distillation import teacher_of
from tune_qat.training.epoch_totals import EpochTotals
from tune_qat.training.formats import check_format
from tune_qat.training.lr_schedules import learning_rate_factor
from tune_qat.training.micro_batches import check_micro_batch
from tune_qat.training.scores import known, tested_columns
from tune_qat.training.step import TrainingStep
from tune_qat.training.workers import Workers, own_part
from tune_qat.training.workload import Workload, check_batches

EXPLODED = 10.0
"""Multiple of the constant predictor's loss above which a training loss counts as exploded."""
CHECK_EVERY = 50
"""Steps between checks that the loss is finite: each check waits for the device."""

COUNTERS = ("epoch", "step", "wall_s", "device_s", "exploded_epochs", "diverged")
"""Attributes of `Training` that are saved and loaded as they are."""


class Training:
    """A trial in training: model, optimizer and counters. It can be saved after each epoch."""

    def __init__(
        self,
        config: TrialConfig,
        work: Workload,
        *,
        device: str = "cpu",
        init: StoragePath | None = None,
        task: Task | None = None,
        backend: str = EAGER,
        workers: Workers | None = None,
    ) -> None:
        """Build the model, load the floating-point weights of the checkpoint `init` if given, quantize and calibrate.

        The trials of a process may share one `task`. `backend` is eager, inductor, or auto: inductor if compiling pays
        for this trial alone. Wherever nothing can be compiled, it is eager. `workers` share the steps.

        Raises:
            UsageError: a configuration that does not fit the data, or contains an unknown name.
            TuneQatError: a checkpoint that cannot be read or does not fit the model.
        """
        check_backend(backend)
        if config.worsening is not None:
            raise UsageError("worsening is of starts of a study's [[controls]], which are not trained.")
        self.config = config
        self.device = torch.device(device)
        self.task = task or work.task(device)
        check_batches(config, self.task.train_size, config.dataset)
        model = work.build_model(config.init_seed)
        if init is not None:
            start_from(model, init, config.model)
        if self.device.type == "cpu":
            replace_modules(model)
        teacher = teacher_of(config, model.to(self.device), self.task.model_input.task, start=init)
        samples = config.calibration_batches * config.batch_size
        first_batches, _ = self.task.batch(config.seed, 1, self._order(1)[:samples])
        if config.batch_size == 1:
            batch_norm.check_values(model, first_batches[:1], training=True)
        check_format(config.autocast, self.device)
        check_micro_batch(config, model, first_batches)
        self.model = quantize(model, config.scheme, first_batches[:1])
        calibrate(self.model, first_batches)
        self.steps_per_epoch = self.task.train_size // config.batch_size
        choice = choose_backend(backend, self.device, self._compile_plan)
        self.why_not_compiled = choice.problem
        self._step = TrainingStep(config, self.model, self.task, self.device, choice.backend, teacher, workers)
        self.epoch = 0
        self.step = 0
        self.wall_s = 0.0
        self.device_s = 0.0
        self.exploded_epochs = 0
        self.diverged = False

    @property
    def status(self) -> str:
        """`running` while epochs are left, then `completed` or `diverged`."""
        if self.diverged:
            return DIVERGED
        return COMPLETED if self.epoch == self.config.epochs else RUNNING

    @property
    def backend(self) -> str:
        """Backend of the steps, eager or inductor; it does not change after the first step."""
        return self._step.backend

    @property
    def remark(self) -> str:
        """Sentence about a first step that was not compiled as it should have been; otherwise empty."""
        return self._step.remark

    @property
    def optimizer(self) -> Optimizer:
        return self._step.optimizer

    def epochs(self, *, test: bool = False) -> Iterator[EpochResult]:
        """Train the remaining epochs, and yield the result of each; a diverged trial ends early.

        With `test`, the result of the last epoch also holds the test split's metric.
        """
        while self.status == RUNNING:
            yield self._run_epoch(test)

    def state_dict(self) -> dict[str, Any]:
        """Return all that the remaining epochs depend on; loadable with `weights_only=True`."""
        return {
            "config": self.config.identity(),
            "model_input": self.task.model_input.to_dict(),
            "normalisation": self.task.normalisation,
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "oscillations": self._step.oscillations.state_dict(),
            **{name: getattr(self, name) for name in COUNTERS},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Resume from `state`: on a CPU the remaining epochs are bit-identical to those of an uninterrupted trial.

        Raises `TuneQatError` for the state of another configuration.
        """
        if state.get("config") != self.config.identity():
            raise TuneQatError("The checkpoint belongs to another trial: its configuration is not this trial's.")
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])
        if "oscillations" in state:  # checkpoints of early versions have none: tracking starts here
            self._step.oscillations.load_state_dict(state["oscillations"])
        for name in COUNTERS:
            setattr(self, name, state[name])

    def _compile_plan(self) -> CompileEstimate:
        counts = {"features": features(self.model), "layers": len(quantized_layers(self.model))}
        return of_one_trial(self._total_steps, self.config.batch_size, **counts)

    def _order(self, epoch: int, *, of: int = 0) -> torch.Tensor:
        """Return an epoch's order of samples, which depends on (seed, epoch) alone: a resumed trial has the same.

        `of` is 0 for training, 1 for batch-norm statistics.
        """
        generator = torch.Generator().manual_seed(_epoch_seed(self.config.seed, epoch))
        return [torch.randperm(self.task.train_size, generator=generator) for _ in range(of + 1)][of]

    def _run_epoch(self, test: bool) -> EpochResult:
        held = device_clock(self.device)
        calibrated = self._calibrated() if self.epoch == 0 else None
        wall = time.perf_counter()
        self.epoch += 1
        totals = self.train_epoch()
        finite = totals.nonfinite_steps == 0  # read before the clock: reading waits for the device
        self.wall_s += time.perf_counter() - wall
        reestimates = self.config.bn_reestimation_batches > 0 and batch_norm.norms(self.model)
        before_norms = self.evaluate("val") if finite and reestimates else None
        if before_norms is not None:
            batch_norm.reestimate(self.model, self._norm_batches())
        evaluation = self.evaluate("val") if finite else None
        judged = evaluation is not None and math.isfinite(evaluation.loss) and math.isfinite(evaluation.metric)
        self.diverged = diverged = not judged or self._exploded(totals)
        tested = self.evaluate("test") if test and self.status == COMPLETED else None
        self.device_s += device_clock(self.device) - held
        return EpochResult(
            epoch=self.epoch,
            status=self.status,
            step=self.step,
            examples=self.step * self.config.batch_size,
            learning_rate=self.config.learning_rate * self._factor(self.step - 1),
            **totals.columns(),
            val_loss=known(evaluation and evaluation.loss),
            val_metric=None if diverged else evaluation and evaluation.metric,
            val_metric_pre_bn=None if diverged else known(before_norms and before_norms.metric),
            val_top5=None if diverged else evaluation and evaluation.top5,
            calibrated_metric=known(calibrated),
            wall_s=self.wall_s,
            device_s=self.device_s,
            **tested_columns(tested),
            layers=() if diverged else layer_results(self.model, self._step.oscillations.columns()),
        )

    def train_epoch(self) -> EpochTotals:
        """Train on the training split once, in full batches; a smaller last one is left out of this epoch."""
        totals = EpochTotals(self.device, steps=self.steps_per_epoch, first_step=self.step + 1, clips=self._step.clips)
        size, order = own_part(self._step.workers, self._order(self.epoch), self.config.batch_size)
        self.model.train()
        with self._step.at_gradients(), seeded(_epoch_seed(self.config.seed, self.epoch), self.device):
            for inputs, targets in self.task.batches(self.config.seed, self.epoch, order, size):
                self._step(inputs, targets, self._factor(self.step), self.step / self._total_steps, totals)
                self.step += 1
                if self.step % CHECK_EVERY == 0 and totals.nonfinite_steps:
                    break
        return totals

    def _factor(self, step: int) -> float:
        warmup = round(self.config.warmup_epochs * self.steps_per_epoch)
        milestones, decay = [epoch * self.steps_per_epoch for epoch in self.config.milestones], self.config.decay
        return learning_rate_factor(self.config.schedule, step, self._total_steps, warmup, milestones, decay)

    @property
    def _total_steps(self) -> int:
        return self.config.epochs * self.steps_per_epoch

    def _norm_batches(self) -> Iterator[torch.Tensor]:
        """Yield training inputs to estimate batch norm from, in an order of their own for each seed and epoch."""
        samples = self._order(self.epoch, of=1)[: self.config.bn_reestimation_batches * self.config.batch_size]
        for inputs, _ in self.task.batches(self.config.seed, self.epoch, samples, self.config.batch_size):
            yield inputs

    def _calibrated(self) -> float:
        """Evaluate the model before its first step, once for all trials of a process that begin with equal ones.

        Draws no random number, and leaves the model as it is: what is trained is the same without it.
        """
        beginning = weights_sha256({**self.model.state_dict(), "scheme": self.config.identity()["scheme"]})
        if beginning not in self.task.calibrated:
            self.task.calibrated[beginning] = self.evaluate("val").metric
        return self.task.calibrated[beginning]

    @torch.no_grad()
    def evaluate(self, split: str) -> Evaluation:
        """Evaluate the model as it is on a whole split."""
        self.model.eval()
        return self.task.evaluate(self.model, split)

    def _exploded(self, totals: EpochTotals) -> bool:
        """Return whether the grace period ends with this epoch, and the loss was exploded in each of its epochs."""
        self.exploded_epochs += totals.loss > EXPLODED * self.task.trivial_loss
        return self.epoch == self.exploded_epochs == self.config.patience_epochs


def _epoch_seed(seed: int, epoch: int) -> int:
    # No two trials share a stream by accident: torch's CPU generator takes 32 bits of a seed, so this is distinct
    # for seeds below 4,294 and epochs below a million.
    return seed * 1_000_003 + epoch
