"""One training run, fully resolved, and its identity."""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from itertools import pairwise
from typing import Any

from tune_qat.config.errors import TuneQatError, UsageError
from tune_qat.config.later import drop_unused, later
from tune_qat.config.memory import AUTOCAST_OFF, drop_rounding, settle_memory
from tune_qat.config.recipes import Dampening, Distillation, Freezing, QuantizerOptimizer, Worsening
from tune_qat.config.scheme import Scheme
from tune_qat.config.shown import cut
from tune_qat.config.values import (
    DECAY,
    SCHEDULES,
    SEEDS,
    STORAGE_OPTIONS,
    check,
    plain,
    real,
    settle,
    stable_hash,
    whole,
)


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
    """Factor of the optimizer's weight decay at this bit width."""
    quantizer_lr_multiplier: float = 1.0
    batch_size: int
    epochs: int
    schedule: str = "cosine"
    warmup_epochs: float = 0.0
    milestones: tuple[float, ...] = later(())
    """Epochs at which the schedule `step` lowers the rate; half and three quarters of the trial where it is empty."""
    decay: float = later(DECAY)
    """Factor that `step` multiplies the rate by."""
    distillation: Distillation | None = later(None)
    seed: int = 0
    """Data order, augmentation and the calibration batch."""
    init_seed: int = 0
    """Initial weights; without effect when the trial starts from a checkpoint."""
    bn_reestimation_batches: int = later(0)
    """Training batches that batch-norm statistics are estimated from anew before each evaluation; 0: they are not."""
    calibration_batches: int = later(1)
    """Training batches, the first ones of the first epoch, that quantizers take their initial values from."""
    freezing: Freezing | None = later(None)
    dampening: Dampening | None = later(None)
    quantizer_optimizer: QuantizerOptimizer | None = later(None)
    """Optimizer of the quantizers' parameters; None: that of the weights. Without effect where there are none."""
    worsening: Worsening | None = later(None)
    """Noise in place of training, which makes the start of a control; None: the trial trains."""
    sources: Mapping[str, str] = later(default_factory=dict)
    """Hash of the source of each own part, by its top-level package."""
    model_options: Mapping[str, Any] = later(default_factory=dict)
    """Keyword arguments of the model's builder."""
    task: str = later("")
    """Task in place of the dataset's own: a name of the table, or `package.module:Class`; empty: the dataset's own."""
    micro_batch: int = later(0)
    """Samples whose gradients are taken at once and added up to a step's; 0: the whole batch."""
    micro_batch_norm: bool = later(False)
    """Whether batch norm may see, and dropout draw for, a micro-batch at a time, which changes a trial's numbers."""
    autocast: str = later(AUTOCAST_OFF)
    """Format of products of what is not quantized, in steps: `off` is float32, `bfloat16` rounds their factors."""
    channels_last: bool = later(False)
    """Whether images lie channel by channel in memory."""
    label_smoothing: float = later(0.0)
    """Share of the training loss that asks for equal classes in place of the label; 0: none. Classification only."""

    def __post_init__(self) -> None:
        self._settle_types()
        check(self.learning_rate > 0, "learning_rate", "be positive", self.learning_rate)
        for least, names in _AT_LEAST.items():
            for name in names:
                check(getattr(self, name) >= least, name, f"be at least {least}", getattr(self, name))
        for name in ("seed", "init_seed"):
            check(0 <= getattr(self, name) < SEEDS, name, f"be from 0 to {SEEDS - 1}", getattr(self, name))
        check(0 <= self.label_smoothing < 1, "label_smoothing", "be at least 0 and below 1", self.label_smoothing)
        rule = "be 1 with a quantizer_optimizer, which has a learning rate of its own"
        multiplier = self.quantizer_lr_multiplier
        check(self.quantizer_optimizer is None or multiplier == 1, "quantizer_lr_multiplier", rule, multiplier)
        settle_memory(self)
        self._check_schedule()

    def _settle_types(self) -> None:
        """Give each field one type: 1 and 1.0 are the same number but not the same JSON, and a key hashes JSON."""
        settle(self, real, "learning_rate", "quantizer_lr_multiplier", "warmup_epochs", "weight_decay_factor", "decay")
        settle(self, real, "label_smoothing")
        settle(self, whole, "batch_size", "epochs", "seed", "init_seed", "bn_reestimation_batches")
        settle(self, whole, "calibration_batches", "micro_batch")
        object.__setattr__(self, "milestones", tuple(real("milestones", one) for one in self.milestones))
        options = {name: real(f"Option {name!r}", value) for name, value in self.optimizer_options.items()}
        object.__setattr__(self, "optimizer_options", options)
        object.__setattr__(self, "dataset_options", dict(self.dataset_options))
        object.__setattr__(self, "sources", dict(self.sources))
        of_model = {name: plain(f"Model option {name!r}", value) for name, value in self.model_options.items()}
        object.__setattr__(self, "model_options", of_model)

    def _check_schedule(self) -> None:
        check(self.schedule in SCHEDULES, "schedule", f"be one of {', '.join(SCHEDULES)}", self.schedule)
        warmup, epochs, milestones = self.warmup_epochs, self.epochs, list(self.milestones)
        check(0 <= warmup < epochs, "warmup_epochs", f"be at least 0 and below epochs ({epochs})", warmup)
        if (milestones or self.decay != DECAY) and self.schedule != "step":
            raise UsageError(f'milestones and decay belong to schedule = "step", but schedule is {self.schedule!r}.')
        check(0 < self.decay < 1, "decay", "be above 0 and below 1", self.decay)
        rises = all(earlier < later for earlier, later in pairwise((warmup, *milestones, epochs)))
        check(rises, "milestones", f"rise, after warmup_epochs ({warmup:g}) and below epochs ({epochs})", milestones)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "TrialConfig":
        parts = {name: kind(**values[name]) for name, kind in _PARTS.items() if values.get(name) is not None}
        return cls(**{**values, **parts})

    @classmethod
    def of_record(cls, trial_key: str, params_json: str) -> "TrialConfig":
        """Read a trial's configuration in a record; `TuneQatError` where another program, or version, wrote it."""
        try:
            return cls.from_dict(json.loads(params_json))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError, UsageError) as error:
            raise TuneQatError(
                f"The record of trial {trial_key} holds a configuration (params_json) that this version of tune-qat "
                f"does not know: {cut(str(error))}. Use the version that wrote it, or another results folder."
            ) from None

    def identity(self) -> dict[str, Any]:
        """Pick the fields that determine a trial's numbers, for hashing.

        Left out are storage options, what changes rounding alone, and newer fields at their default, which earlier
        records do not have.
        """
        # Not `to_dict`: its copy of everything takes most of the time of a key, and a record may have 100,000.
        values = _as_dict(self)
        options = {name: value for name, value in self.dataset_options.items() if name not in STORAGE_OPTIONS}
        values["dataset_options"] = options
        for name in _PARTS:
            if values[name] is not None:
                values[name] = _as_dict(values[name])
        drop_unused(TrialConfig, values)
        drop_rounding(values)
        values["scheme"] = self.scheme.identity()
        if self.worsening is not None:
            values["worsening"]["scheme"] = self.worsening.scheme.identity()
        return values

    @property
    def weight_decay(self) -> float | None:
        """Weight decay of the weights, at this bit width; None for an optimizer without it."""
        given = self.optimizer_options.get("weight_decay")
        return None if given is None else given * self.weight_decay_factor

    @property
    def recipe(self) -> str:
        """Hash of what no sampler proposes and no seed varies: trials of one arm share it."""
        return self.recipe_of(step_rate_searched=False)

    def recipe_of(self, *, step_rate_searched: bool, layers_searched: bool = False) -> str:
        """Hash what no sampler proposes, where it may propose the rate of `quantizer_optimizer` or bits of layers."""
        values = {name: value for name, value in self.identity().items() if name not in _PROPOSED}
        if step_rate_searched and "quantizer_optimizer" in values:
            del values["quantizer_optimizer"]["learning_rate"]
        if layers_searched:
            values["scheme"].pop("layer_bits", None)
        return stable_hash(values)

    @property
    def config_id(self) -> str:
        """Hash of everything but the seeds: joins the seeds of one configuration."""
        return stable_hash(replace(self, seed=0, init_seed=0).identity())

    @property
    def patience_epochs(self) -> int:
        """Epochs after which a trial is given up where the loss of every one of them has exploded."""
        return ninth(self.epochs)


_AT_LEAST = {
    0: ("quantizer_lr_multiplier", "bn_reestimation_batches", "weight_decay_factor"),
    1: ("batch_size", "epochs", "calibration_batches"),
}
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
    "worsening": Worsening,
}
"""Fields of a trial that are dataclasses themselves."""


def _as_dict(part: Any) -> dict[str, Any]:
    return {one.name: getattr(part, one.name) for one in fields(part)}


def ninth(epochs: int) -> int:
    """Return a ninth of the epochs, rounded up: the patience with a loss that explodes, and ASHA's from scratch."""
    return max(1, math.ceil(epochs / 9))


def trial_key(
    config: TrialConfig,
    stage: str,
    *,
    data_fingerprint: str,
    split_fingerprint: str,
    init_checkpoint_sha256: str | None,
) -> str:
    """Return the identity of a trial in a results folder: the same key is the same training run.

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
