"""One optimizer step: the code that runs millions of times."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from tune_qat import optimizers
from tune_qat.backend import compiled
from tune_qat.config import EAGER, INDUCTOR, TrialConfig
from tune_qat.data.base import Task
from tune_qat.distillation import Teacher
from tune_qat.epoch import EpochTotals
from tune_qat.lookup import resolve
from tune_qat.oscillations.recipe import Oscillations
from tune_qat.parameter_groups import ParameterGroups, parameter_groups
from tune_qat.quantize import constrain, constraints


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
    ) -> None:
        self.model = model
        self.groups = parameter_groups(model)
        self.optimizer, self._clip = build_optimizer(config, self.groups)
        self.backend = backend
        self.oscillations = Oscillations(config, model)
        self._task = task
        self._teacher = teacher
        watched = self.oscillations.model
        self._forward: Callable[[torch.Tensor], Any] = compiled(watched, device) if backend == INDUCTOR else watched
        self._constraints = constraints(model)
        self._is_new = True

    @property
    def clips(self) -> bool:
        """Whether the optimizer clips gradients."""
        return self._clip is not None

    def __call__(
        self, inputs: torch.Tensor, targets: torch.Tensor, factor: float, progress: float, totals: EpochTotals
    ) -> None:
        """Train on one batch with every group's peak learning rate times `factor`.

        `progress` is the share of the trial's steps made before this one. The loss that is added up is the task's own.
        """
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak_lr"] * factor
        self.optimizer.zero_grad(set_to_none=True)
        output, codes = self._first_output(inputs) if self._is_new else self._forward(inputs)
        loss = self._task.loss(output, targets)
        minimised = self._teacher.loss(inputs, output, loss) if self._teacher else loss
        penalty = self.oscillations.penalty(progress)
        (minimised if penalty is None else minimised + penalty).backward()
        norm = nn.utils.get_total_norm([p.grad for p in self.groups.all if p.grad is not None])
        clipped = self._clip() if self._clip else None
        self.oscillations.observe(codes, progress)
        self.optimizer.step()
        constrain(self._constraints)
        totals.add(loss.detach(), self._task.batch_metric(output.detach(), targets), norm, clipped)

    def _first_output(self, inputs: torch.Tensor) -> Any:
        """Compiling may fail for one model where it works for others: that one trains eagerly, and its row says so."""
        self._is_new = False
        try:
            return self._forward(inputs)
        except torch._dynamo.exc.TorchDynamoException:
            self.backend, self._forward = EAGER, self.oscillations.model
            return self._forward(inputs)


def build_optimizer(
    config: TrialConfig, groups: ParameterGroups
) -> tuple[torch.optim.Optimizer, Callable[[], torch.Tensor] | None]:
    """The optimizer over the checked groups, and its clipping bound to them (None where it does not clip)."""
    spec = optimizers.get_spec(config.optimizer)
    options = optimizers.resolve_options(config.optimizer, config.optimizer_options)
    weight_decay = options.pop("weight_decay", 0.0) * config.weight_decay_factor
    clip_options = {name: options.pop(name) for name in spec.clip_options}
    rate = config.learning_rate
    torch_groups: list[dict[str, Any]] = [
        {"params": groups.weights, "weight_decay": weight_decay, "lr": rate},
        {"params": groups.others, "weight_decay": 0.0, "lr": rate},
        {"params": groups.quantizer, "weight_decay": 0.0, "lr": rate * config.quantizer_lr_multiplier},
        {
            "params": groups.decayed_quantizer,
            "weight_decay": weight_decay,
            "lr": rate * config.quantizer_lr_multiplier,
        },
    ]
    torch_groups = [{**group, "peak_lr": group["lr"]} for group in torch_groups if group["params"]]
    optimizer = resolve(spec.build)(torch_groups, rate, **options)
    if spec.clip is None:
        return optimizer, None
    clip = resolve(spec.clip)
    clippable = [weight for weight in groups.weights if weight is not groups.last_weight]
    return optimizer, lambda: clip(groups.all, clippable, **clip_options)
