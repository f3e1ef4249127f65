"""What one trial is, and what it gives back. Standard library only, so that every part may import it."""

import hashlib
import json
import math
import numbers
import re
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields, replace
from typing import Any

FLOAT_BITS = 32
"""A bit width that means "not quantized"."""

STAGES = ("pretrain", "default", "random", "search", "retrain")
STATUSES = ("running", "completed", "stopped", "diverged", "oom", "error", "interrupted")
EAGER, INDUCTOR, AUTO = "eager", "inductor", "auto"
BACKENDS = (AUTO, EAGER, INDUCTOR)
"""What runs a training step: torch's eager operations, the same compiled, or compiled where it pays."""
STE_VARIANTS = ("clip_then_round", "round_then_clip")
PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,99}")
"""What may become a file name: of studies, arms and trials."""
STORAGE_OPTIONS = ("in_memory",)
"""Options of datasets that say where decoded samples are kept, and change none of them."""
SCHEDULES = ("cosine", "step", "constant")
SEEDS = 2**32
"""Seeds are below this: torch's CPU generator keeps no more of one."""


class TuneQatError(Exception):
    """An error for people: its text is shown as it is, without a traceback. Exit code 1: environment or data."""

    exit_code = 1


class UsageError(TuneQatError):
    """A wrong command line, study file or value. Exit code 2."""

    exit_code = 2


class TooManyFailures(TuneQatError):
    """More trials ended in an error than the study allows. Exit code 3."""

    exit_code = 3


class Interrupted(TuneQatError):
    """Stopped before the end by the user or a budget; the same command goes on. Exit code 4."""

    exit_code = 4


def check_backend(name: str) -> None:
    """`UsageError` for a backend that there is not."""
    if name not in BACKENDS:
        raise UsageError(f"backend (--backend) must be one of {', '.join(BACKENDS)}, but got {name!r}.")


def _later(default: Any = MISSING, *, default_factory: Any = MISSING, **options: Any) -> Any:
    """A field that came after the first records: part of a trial's identity only where it is not its default."""
    return field(default=default, default_factory=default_factory, metadata={_LATER: True}, **options)


_LATER = "later"


@dataclass(frozen=True, kw_only=True, slots=True)
class Scheme:
    """Which quantizer at how many bits on which layers."""

    quantizer: str = "lsq"
    """Of weights."""
    activation_quantizer: str = ""
    """Of activations; the weights' where it is left empty."""
    weight_bits: int = 4
    activation_bits: int = 4
    first_last_bits: int = 8
    """Bits of the first and the last layer and of squeeze-excite gates, weights and inputs, where quantized at all."""
    ste: str = "clip_then_round"
    """`clip_then_round` (the paper) or `round_then_clip` (torch, brevitas, MQBench); of LSQ and LSQ+."""
    options: Mapping[str, Any] = _later(default_factory=dict, hash=False)
    """Of the two methods, those that differ from the table's values."""
    layer_bits: Mapping[str, tuple[int, int]] = _later(default_factory=dict, hash=False)
    """Weight and activation bits of layers by name, in place of all else; 32: not quantized."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "activation_quantizer", self.activation_quantizer or self.quantizer)
        object.__setattr__(self, "options", dict(self.options))
        pairs = {name: _pair(f"layer_bits of {name!r}", bits) for name, bits in self.layer_bits.items()}
        object.__setattr__(self, "layer_bits", pairs)
        for name in ("weight_bits", "activation_bits", "first_last_bits"):
            object.__setattr__(self, name, _whole(name, getattr(self, name)))
        if self.ste not in STE_VARIANTS:
            raise UsageError(f"ste must be one of {', '.join(STE_VARIANTS)}, but got {self.ste!r}.")

    @classmethod
    def floating_point(cls) -> "Scheme":
        """The 32/32 control. One spelling, whatever quantizer the other arms use, so that its trials are shared."""
        return cls(quantizer="none", weight_bits=FLOAT_BITS, activation_bits=FLOAT_BITS, first_last_bits=FLOAT_BITS)

    @classmethod
    def of(cls, *, quantizer: str, weight_bits: int, activation_bits: int, **options: Any) -> "Scheme":
        """The scheme of these bits; 32/32 is the floating-point control, whatever the other options say."""
        if weight_bits == activation_bits == FLOAT_BITS:
            return cls.floating_point()
        return cls(quantizer=quantizer, weight_bits=weight_bits, activation_bits=activation_bits, **options)

    @property
    def is_float(self) -> bool:
        return self.weight_bits == self.activation_bits == FLOAT_BITS

    @property
    def label(self) -> str:
        """Short name for tables and identifiers, such as `w4a4`."""
        return f"w{self.weight_bits}a{self.activation_bits}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Freezing:
    """Iterative weight freezing (Nagel et al., ICML 2022, arXiv 2203.11086, algorithm 1)."""

    threshold_start: float
    """Oscillations per step above which a weight is frozen, where freezing begins: a quarter into the training."""
    threshold_end: float
    """At the last step, reached along a cosine."""
    momentum: float = 0.01
    """Of the moving averages over steps."""

    def __post_init__(self) -> None:
        for name in ("threshold_start", "threshold_end", "momentum"):
            value = _real(f"freezing {name}", getattr(self, name))
            object.__setattr__(self, name, value)
            if not 0 < value < 1:
                raise UsageError(f"freezing {name} must be above 0 and below 1, but got {value!r}.")
        if self.threshold_end > self.threshold_start:
            raise UsageError(
                f"freezing threshold_end must be at most threshold_start ({self.threshold_start!r}), "
                f"but got {self.threshold_end!r}."
            )
        if self.threshold_end < 2 * self.momentum:
            raise UsageError(
                f"freezing threshold_end must be at least twice momentum ({self.momentum!r}), because a weight that "
                f"turns around once has a frequency of momentum already, but got {self.threshold_end!r}. "
                "Raise the threshold or lower momentum."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class Dampening:
    """A loss that pulls weights to the middles of their bins (Nagel et al., ICML 2022, arXiv 2203.11086)."""

    weight: float
    """Its factor at the last step; 0 for the first quarter of the training, then along a cosine."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "weight", _real("dampening weight", self.weight))
        if self.weight <= 0:
            raise UsageError(f"dampening weight must be above 0, but got {self.weight!r}.")


@dataclass(frozen=True, kw_only=True, slots=True)
class QuantizerOptimizer:
    """What moves the quantizers' parameters, where it is not what moves the weights."""

    name: str
    learning_rate: float
    """Peak; the schedule is the weights'."""
    options: Mapping[str, float] = field(default_factory=dict)
    """Everything else that it takes; `weight_decay` reaches the parameters whose method asks for it."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "learning_rate", _real("learning_rate of quantizer_optimizer", self.learning_rate))
        if self.learning_rate <= 0:
            raise UsageError(f"learning_rate of quantizer_optimizer must be positive, but got {self.learning_rate!r}.")
        options = {name: _real(f"{name!r} of quantizer_optimizer", value) for name, value in self.options.items()}
        object.__setattr__(self, "options", options)


@dataclass(frozen=True, kw_only=True, slots=True)
class Distillation:
    """Learning from the predictions of the floating-point model that the trial starts from, beside the labels."""

    weight: float = 0.5
    """Of the teacher in the loss; the labels have what is left of 1."""
    temperature: float = 1.0
    """By which both models' logits are divided."""

    def __post_init__(self) -> None:
        for name in ("weight", "temperature"):
            object.__setattr__(self, name, _real(f"distillation {name}", getattr(self, name)))
        if not 0 < self.weight <= 1:
            raise UsageError(f"distillation weight must be above 0 and at most 1, but got {self.weight!r}.")
        if self.temperature <= 0:
            raise UsageError(f"distillation temperature must be above 0, but got {self.temperature!r}.")


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
    weight_decay_factor: float = _later(1.0)
    """By which the optimizer's weight decay is multiplied at this bit width."""
    quantizer_lr_multiplier: float = 1.0
    batch_size: int
    epochs: int
    schedule: str = "cosine"
    warmup_epochs: float = 0.0
    milestones: tuple[float, ...] = _later(())
    """Epochs at which the schedule `step` lowers the rate; half and three quarters of the trial where it is empty."""
    decay: float = _later(0.1)
    """What `step` multiplies the rate by."""
    distillation: Distillation | None = _later(None)
    seed: int = 0
    """Data order, augmentation and the calibration batch."""
    init_seed: int = 0
    """Initial weights; without effect when the trial starts from a checkpoint."""
    bn_reestimation_batches: int = _later(0)
    """Training batches that batch-norm statistics are estimated from anew before each evaluation; 0: they are not."""
    freezing: Freezing | None = _later(None)
    dampening: Dampening | None = _later(None)
    quantizer_optimizer: QuantizerOptimizer | None = _later(None)
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
            object.__setattr__(self, name, _real(name, getattr(self, name)))
        for name in ("batch_size", "epochs", "seed", "init_seed", "bn_reestimation_batches"):
            object.__setattr__(self, name, _whole(name, getattr(self, name)))
        object.__setattr__(self, "milestones", tuple(_real("milestones", one) for one in self.milestones))
        options = {name: _real(f"Option {name!r}", value) for name, value in self.optimizer_options.items()}
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
        options = {name: value for name, value in self.dataset_options.items() if name not in STORAGE_OPTIONS}
        values = replace(self, dataset_options=options).to_dict()
        _drop_unused(TrialConfig, values)
        scheme = values["scheme"]
        _drop_unused(Scheme, scheme)
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
    def grace_epochs(self) -> int:
        """Epochs before a trial may be given up: a ninth of its length (methodology D6)."""
        return grace_epochs(self.epochs)


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


def _drop_unused(kind: Any, values: dict[str, Any]) -> None:
    """Leave out the later fields of a dataclass that have their defaults."""
    for one in fields(kind):
        default = one.default if one.default_factory is MISSING else one.default_factory()
        if one.metadata.get(_LATER) and values[one.name] == default:
            del values[one.name]


def _real(name: str, value: object) -> float:
    """A finite float; numpy's numbers will do, a truth value is none."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool) or not math.isfinite(value):
        raise UsageError(f"{name} must be a finite number, but got {value!r}.")
    return float(value)


def _whole(name: str, value: object) -> int:
    if not isinstance(value, numbers.Integral) or isinstance(value, bool):
        raise UsageError(f"{name} must be a whole number, but got {value!r}.")
    return int(value)


def _pair(name: str, bits: Iterable[int]) -> tuple[int, int]:
    found = tuple(_whole(name, one) for one in bits)
    if len(found) != 2:
        raise UsageError(f"{name} must be [weight bits, activation bits], but got {list(found)}.")
    return found


def grace_epochs(epochs: int) -> int:
    """A ninth of the epochs, at least one: ASHA's first rung, and the patience with a loss that explodes."""
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


def stable_hash(value: Any) -> str:
    """First 16 hex digits of the SHA-256 of the value's canonical JSON."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


@dataclass(frozen=True, kw_only=True, slots=True)
class LayerResult:
    """State of one quantizer after an epoch: a row of the `layers` table."""

    layer: str
    layer_index: int
    """Position in execution order, from 0."""
    kind: str
    """`weight` or `activation`."""
    bits: int
    signed: bool
    exact: bool
    """Whether the layer's forward sums of integer codes are exact in float32."""
    numel: int
    """Weights of the layer, or features per sample of its input."""
    step_size: float
    step_size_init: float
    clip_fraction_low: float | None = None
    clip_fraction_high: float | None = None
    quantization_mse: float | None = None
    oscillation_frequency: float | None = None
    """Of weights: oscillations per step, a moving average over steps (momentum 0.01, 0 at the start) and the mean over
    at most 512 weights of the layer. A code that turns around oscillates: it moves against its last move."""
    oscillating_fraction: float | None = None
    """Of weights: share of those whose frequency is above 0.005, which is what the paper reports."""
    frozen_fraction: float | None = None
    """Of weights: share of all weights of the layer that are frozen; None where freezing is not used on it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class EpochResult:
    """What a trial reports after each epoch: a row of the `epochs` table. Unknown or not finite is None."""

    epoch: int
    """From 1."""
    status: str
    """Of the trial after this epoch: running, completed or diverged."""
    step: int
    """Optimizer steps since the start."""
    examples: int
    learning_rate: float
    """Of the epoch's last step."""
    train_loss: float | None
    train_metric: float | None
    val_loss: float | None
    val_metric: float | None
    val_top5: float | None
    val_metric_pre_bn: float | None = None
    """Before batch-norm statistics were estimated anew, `val_metric` after; None where they were not."""
    grad_norm: float | None
    """Mean global norm before clipping."""
    grad_norm_max: float | None
    clip_fraction: float | None
    """Share of steps in which clipping changed a gradient; None for optimizers that do not clip."""
    nonfinite_steps: int
    diverged_at_step: int | None = None
    wall_s: float
    """Seconds of training since the start of the trial, evaluation left out."""
    device_s: float
    """Seconds the device was held since the start of the trial, evaluation included; process time on a CPU."""
    test_metric: float | None = None
    test_top5: float | None = None
    test_loss: float | None = None
    test_n: int | None = None
    test_correct: int | None = None
    layers: tuple[LayerResult, ...] = ()
