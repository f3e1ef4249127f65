"""One training run, fully resolved, and its identity."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from tune_qat.config.errors import UsageError
from tune_qat.config.later import drop_unused, later
from tune_qat.config.recipes import Dampening, Distillation, Freezing, QuantizerOptimizer
from tune_qat.config.scheme import Scheme
from tune_qat.config.values import SCHEDULES, SEEDS, STORAGE_OPTIONS, real, stable_hash, whole


@dataclass(frozen=True, kw_only=True, slots=True)
class TrialConfig:
    """One training run, fully resolved: nothing that changes its numbers is left to a default elsewhere."""

    model: str
    dataset: str
    dataset_options: Mapping[str, Any] = field(default_factory=dict)
    scheme: Scheme
    optimizer: str
    learning_rate: float
    """Peak learning rate, in the optimizer's own unit."""
    optimizer_options: Mapping[str, float] = field(default_factory=dict)
    """Everything else that the optimizer takes, such as `momentum`, `weight_decay`, `max_norm`."""
    weight_decay_factor: float = later(1.0)
    """By which the optimizer's weight decay is multiplied at this bit width."""
    quantizer_lr_multiplier: float = 1.0
    batch_size: int
    epochs: int
    schedule: str = "cosine"
    warmup_epochs: float = 0.0
    milestones: tuple[float, ...] = later(())
    """Epochs at which the schedule `step` lowers the rate; half and three quarters of the trial where it is empty."""
    decay: float = later(0.1)
    """What `step` multiplies the rate by."""
    distillation: Distillation | None = later(None)
    seed: int = 0
    """Data order, augmentation and the calibration batch."""
    init_seed: int = 0
    """Initial weights; without effect when the trial starts from a checkpoint."""
    bn_reestimation_batches: int = later(0)
    """Training batches that batch-norm statistics are estimated from anew before each evaluation; 0: they are not."""
    freezing: Freezing | None = later(None)
    dampening: Dampening | None = later(None)
    quantizer_optimizer: QuantizerOptimizer | None = later(None)
    """Of the quantizers' parameters; None: the same as of the weights. Without effect where there are none."""

    def __post_init__(self) -> None:
        self._settle_types()
        if self.learning_rate <= 0:
            raise UsageError(f"learning_rate must be positive, but got {self.learning_rate!r}.")
        if self.quantizer_lr_multiplier < 0:
            raise UsageError(f"quantizer_lr_multiplier must be at least 0, but got {self.quantizer_lr_multiplier!r}.")
        if self.quantizer_optimizer is not None and self.quantizer_lr_multiplier != 1:
            raise UsageError(
                "quantizer_lr_multiplier must be 1 with a quantizer_optimizer, which has a learning rate of its own, "
                f"but got {self.quantizer_lr_multiplier!r}."
            )
        for name in ("batch_size", "epochs"):
            if getattr(self, name) < 1:
                raise UsageError(f"{name} must be at least 1, but got {getattr(self, name)!r}.")
        if self.bn_reestimation_batches < 0:
            raise UsageError(f"bn_reestimation_batches must be at least 0, but got {self.bn_reestimation_batches!r}.")
        for name in ("seed", "init_seed"):
            if not 0 <= getattr(self, name) < SEEDS:
                raise UsageError(f"{name} must be from 0 to {SEEDS - 1}, but got {getattr(self, name)!r}.")
        if self.schedule not in SCHEDULES:
            raise UsageError(f"schedule must be one of {', '.join(SCHEDULES)}, but got {self.schedule!r}.")
        if not 0 <= self.warmup_epochs < self.epochs:
            raise UsageError(
                f"warmup_epochs must be at least 0 and below epochs ({self.epochs}), but got {self.warmup_epochs!r}."
            )
        if self.weight_decay_factor < 0:
            raise UsageError(f"weight_decay_factor must be at least 0, but got {self.weight_decay_factor!r}.")
        self._check_steps()

    def _check_steps(self) -> None:
        if (self.milestones or self.decay != 0.1) and self.schedule != "step":
            raise UsageError(f'milestones and decay belong to schedule = "step", but schedule is {self.schedule!r}.')
        if not 0 < self.decay < 1:
            raise UsageError(f"decay must be above 0 and below 1, but got {self.decay!r}.")
        ends = (self.warmup_epochs, *self.milestones, float(self.epochs))
        if any(later <= earlier for earlier, later in zip(ends, ends[1:], strict=False)):
            raise UsageError(
                f"milestones must rise, after warmup_epochs ({self.warmup_epochs:g}) and below epochs "
                f"({self.epochs}), but got {list(self.milestones)}."
            )

    def _settle_types(self) -> None:
        """One type a field: 1 and 1.0 are the same number but not the same JSON, and a key is a hash of JSON."""
        for name in ("learning_rate", "quantizer_lr_multiplier", "warmup_epochs", "weight_decay_factor", "decay"):
            object.__setattr__(self, name, real(name, getattr(self, name)))
        for name in ("batch_size", "epochs", "seed", "init_seed", "bn_reestimation_batches"):
            object.__setattr__(self, name, whole(name, getattr(self, name)))
        object.__setattr__(self, "milestones", tuple(real("milestones", one) for one in self.milestones))
        options = {name: real(f"Option {name!r}", value) for name, value in self.optimizer_options.items()}
        object.__setattr__(self, "optimizer_options", options)
        object.__setattr__(self, "dataset_options", dict(self.dataset_options))

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrialConfig":
        parts = {name: kind(**values[name]) for name, kind in _PARTS.items() if values.get(name) is not None}
        return cls(**{**values, **parts})

    def identity(self) -> dict[str, Any]:
        """`to_dict` without what changes no number, nor what earlier records do not have unless it is used."""
        # Not `to_dict`: its copy of everything takes most of the time of a key, and a record may have 100,000.
        values = _as_dict(self)
        options = {name: value for name, value in self.dataset_options.items() if name not in STORAGE_OPTIONS}
        values["dataset_options"] = options
        for name in _PARTS:
            if values[name] is not None:
                values[name] = _as_dict(values[name])
        drop_unused(TrialConfig, values)
        scheme = values["scheme"]
        drop_unused(Scheme, scheme)
        if scheme["activation_quantizer"] == scheme["quantizer"]:
            del scheme["activation_quantizer"]
        return values

    @property
    def weight_decay(self) -> float | None:
        """Of the weights, at this bit width; None for an optimizer without it."""
        given = self.optimizer_options.get("weight_decay")
        return None if given is None else given * self.weight_decay_factor

    @property
    def recipe(self) -> str:
        """Hash of what no sampler proposes and no seed varies: trials of one arm share it."""
        return stable_hash({name: value for name, value in self.identity().items() if name not in _PROPOSED})

    @property
    def config_id(self) -> str:
        """Hash of everything but the seeds: joins the seeds of one configuration."""
        return stable_hash(replace(self, seed=0, init_seed=0).identity())

    @property
    def patience_epochs(self) -> int:
        """Epochs after which a trial is given up where the loss of every one of them has exploded."""
        return ninth(self.epochs)


_PROPOSED = (
    "optimizer",
    "learning_rate",
    "optimizer_options",
    "quantizer_lr_multiplier",
    "batch_size",
    "seed",
    "init_seed",
)
_PARTS: Mapping[str, type] = {
    "scheme": Scheme,
    "distillation": Distillation,
    "quantizer_optimizer": QuantizerOptimizer,
    "freezing": Freezing,
    "dampening": Dampening,
}
"""Fields of a trial that are dataclasses themselves."""


def _as_dict(part: Any) -> dict[str, Any]:
    return {one.name: getattr(part, one.name) for one in fields(part)}


def ninth(epochs: int) -> int:
    """Divide epochs by nine, rounded up: where ASHA first looks, and the patience with a loss that explodes."""
    return max(1, math.ceil(epochs / 9))


def trial_key(
    config: TrialConfig,
    stage: str,
    *,
    data_fingerprint: str,
    split_fingerprint: str,
    init_checkpoint_sha256: str | None,
) -> str:
    """Identity of a trial in a results folder: the same key is the same training run.

    Covers the resolved configuration, the data, the starting point and the stage; never the study's ranges or
    budget, nor the version of anything.
    """
    return stable_hash(
        {
            "config": config.identity(),
            "stage": stage,
            "data": data_fingerprint,
            "split": split_fingerprint,
            "init": init_checkpoint_sha256,
        }
    )
