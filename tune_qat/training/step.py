"""One optimizer step: the code that runs millions of times."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import nn

from tune_qat import optimizers
from tune_qat.config import EAGER, INDUCTOR, TrialConfig
from tune_qat.config.lookup import resolve
from tune_qat.data.task import Task
from tune_qat.optimizers import schedule_free
from tune_qat.optimizers.base import OptimizerSpec
from tune_qat.optimizers.joined import Joined, Optimizer
from tune_qat.quantization.model import constrain, constraints
from tune_qat.quantization.oscillations.recipe import Oscillations
from tune_qat.training.compiler import compiled, compiled_anew
from tune_qat.training.distillation import Teacher
from tune_qat.training.epoch_totals import EpochTotals
from tune_qat.training.formats import in_format
from tune_qat.training.label_smoothing import smoothed, smoothing_of
from tune_qat.training.micro_batches import accumulate
from tune_qat.training.parameter_groups import ParameterGroups, output_units_first, parameter_groups
from tune_qat.training.workers import Workers


class TrainingStep:
    """A model with its loss and its optimizer, on one backend."""

    def __init__(
        self,
        config: TrialConfig,
        model: nn.Module,
        task: Task,
        device: torch.device,
        backend: str,
        teacher: Teacher | None = None,
        workers: Workers | None = None,
    ) -> None:
        self.model = model
        self.groups = parameter_groups(model)
        self.optimizer, self._clip = build_optimizer(config, self.groups)
        self.backend = backend
        self.remark = ""
        self.oscillations = Oscillations(config, model)
        self._task = task
        self._teacher = teacher
        self._micro_batch = config.micro_batch
        self._smoothing = smoothing_of(config, task.model_input.task)
        self._watched = watched = in_format(self.oscillations.model, config)
        self._forward: Callable[[torch.Tensor], Any] = compiled(watched, device) if backend == INDUCTOR else watched
        self._constrain = partial(constrain, constraints(model))
        self._is_new = True
        self.workers = workers
        if workers is not None:
            self._forward = workers.forward(watched)
            if teacher is not None:
                taught = teacher.predict
                teacher.predict = lambda inputs: workers.gathered(taught(inputs))

    @property
    def clips(self) -> bool:
        """Whether the optimizer clips gradients."""
        return self._clip is not None

    @contextmanager
    def at_gradients(self) -> Iterator[None]:
        """Move the parameters to where gradients are taken, and at the end to where they are evaluated and saved."""
        schedule_free.to_gradients(self.optimizer)
        try:
            yield
        finally:
            schedule_free.to_average(self.optimizer, self._constrain)

    def __call__(
        self, inputs: torch.Tensor, targets: torch.Tensor, factor: float, progress: float, totals: EpochTotals
    ) -> None:
        """Train on one batch with every group's peak learning rate times `factor`.

        `progress` is the share of the trial's steps made before this one. `totals` gets the task's loss, without
        label smoothing, distillation and dampening.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak_lr"] * factor
        self.optimizer.zero_grad(set_to_none=True)
        if self._micro_batch:
            output, codes, loss = self._accumulated(inputs, targets, self.oscillations.penalty(progress))
        else:
            output, targets, codes, loss = self._at_once(inputs, targets, progress)
        norm = nn.utils.get_total_norm([p.grad for p in self.groups.all if p.grad is not None])
        clipped = self._clip() if self._clip else None
        self.oscillations.observe(codes, progress)
        self.optimizer.step()
        schedule_free.constrain_all(self.optimizer, self._constrain)
        totals.add(loss.detach(), self._task.batch_metric(output.detach(), targets), norm, clipped)

    def _at_once(
        self, inputs: torch.Tensor, targets: torch.Tensor, progress: float
    ) -> tuple[torch.Tensor, torch.Tensor, Any, torch.Tensor]:
        """Take gradients of a batch in one pass; return its output and targets, the codes of weights and its loss.

        Of several workers each passes its part, and all return the whole batch.
        """
        output, codes = self._first_output(inputs) if self._is_new else self._forward(inputs)
        if self.workers is not None:
            output, targets = self.workers.gathered(output), self.workers.gathered(targets)
        loss = self._task.loss(output, targets)
        minimised = self._minimised(inputs, output, loss)
        penalty = self.oscillations.penalty(progress)
        if penalty is not None and self.workers is not None:
            penalty = penalty / self.workers.size  # it is the same in each of them, and gradients are summed
        (minimised if penalty is None else minimised + penalty).backward()
        if self.workers is not None:
            self.workers.sum_gradients(self.groups.all)
        return output, targets, codes, loss

    def _accumulated(
        self, inputs: torch.Tensor, targets: torch.Tensor, penalty: torch.Tensor | None
    ) -> tuple[torch.Tensor, Any, torch.Tensor]:
        """Take gradients of a batch by micro-batches; return its output, the codes of weights and its loss."""

        def forward(part: torch.Tensor) -> Any:
            return self._first_output(part) if self._is_new else self._forward(part)

        if penalty is not None:
            penalty.backward()
        return accumulate(forward, self._task, self._minimised, inputs, targets, self._micro_batch)

    def _minimised(self, inputs: torch.Tensor, output: torch.Tensor, loss: torch.Tensor) -> torch.Tensor:
        """Return what is minimised in place of the task's loss: that of smoothed labels, and with a teacher its own."""
        if self._smoothing:
            loss = smoothed(loss, output, self._smoothing)
        return self._teacher.loss(inputs, output, loss) if self._teacher else loss

    def _first_output(self, inputs: torch.Tensor) -> Any:
        """Return the output of the first batch; a model that cannot be compiled trains eagerly from here on."""
        self._is_new = False
        try:
            return self._forward(inputs)
        except torch._dynamo.exc.BackendCompilerFailed:
            anew = compiled_anew(partial(self._forward, inputs))
        except torch._dynamo.exc.TorchDynamoException:
            anew = None
        if anew is not None:
            output, self.remark = anew
            return output
        self.remark = "Inductor cannot compile a model of this study here: its trials are trained eagerly."
        self.backend, self._forward = EAGER, self._watched
        return self._forward(inputs)


def build_optimizer(
    config: TrialConfig, groups: ParameterGroups
) -> tuple[Optimizer, Callable[[], torch.Tensor] | None]:
    """Build the optimizer, and its function that clips the gradients of these groups (None if it does not clip).

    Raises `UsageError` for a configuration that the optimizer does not allow (`optimizers.check`).
    """
    optimizers.check(config)
    spec = optimizers.get_spec(config.optimizer)
    options = optimizers.resolve_options(config.optimizer, config.optimizer_options)
    if "weight_decay" in options:
        options["weight_decay"] *= config.weight_decay_factor
    clip_options = {name: options.pop(name) for name in spec.clip_options}
    parts = _weight_parts(groups, spec)
    separate = config.quantizer_optimizer if groups.of_quantizers else None
    if separate is None:
        parts += _quantizer_parts(groups, config.quantizer_lr_multiplier)
    own = _built(spec, config.learning_rate, options, parts)
    optimizer: Optimizer = own
    if separate is not None:
        options = optimizers.resolve_options(separate.name, separate.options)
        second = _built(optimizers.get_spec(separate.name), separate.learning_rate, options, _quantizer_parts(groups))
        optimizer = Joined(own, second)
    if spec.clip is None:
        return optimizer, None
    clip = resolve(spec.clip)
    clippable = [weight for weight in groups.weights if weight is not groups.last_weight]
    return optimizer, lambda: clip(groups.all, output_units_first(clippable, groups.transposed), **clip_options)


class _Part(NamedTuple):
    """Parameters that an optimizer treats alike."""

    parameters: list[nn.Parameter]
    decayed: bool
    lr_multiplier: float = 1.0
    matrices: bool = False


def _weight_parts(groups: ParameterGroups, spec: OptimizerSpec) -> list[_Part]:
    """Return the parts of all parameters but the quantizers': first the weights treated as matrices."""
    matrices = getattr(groups, spec.matrices) if spec.matrices else []
    taken = {id(weight) for weight in matrices}
    plain = [weight for weight in groups.weights if id(weight) not in taken]
    return [_Part(matrices, True, matrices=True), _Part(plain, True), _Part(groups.others, False)]


def _quantizer_parts(groups: ParameterGroups, multiplier: float = 1.0) -> list[_Part]:
    return [_Part(groups.quantizer, False, multiplier), _Part(groups.decayed_quantizer, True, multiplier)]


def _built(
    spec: OptimizerSpec, rate: float, options: Mapping[str, float], parts: Sequence[_Part]
) -> torch.optim.Optimizer:
    """Build an optimizer with a group for each part; the group stores its peak learning rate for the schedule."""
    others = {name: value for name, value in options.items() if name != "weight_decay"}
    weight_decay = options.get("weight_decay", 0.0)
    torch_groups: list[dict[str, Any]] = [
        {
            "params": part.parameters,
            "weight_decay": weight_decay if part.decayed else 0.0,
            "lr": rate * part.lr_multiplier,
            **({"matrices": part.matrices} if spec.matrices else {}),
        }
        for part in parts
        if part.parameters
    ]
    optimizer: torch.optim.Optimizer = resolve(spec.build)(torch_groups, rate, **others)
    for group in optimizer.param_groups:
        group["peak_lr"] = group["lr"]
    return optimizer
