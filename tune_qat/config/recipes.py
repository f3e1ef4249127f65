"""What a trial may do beside minimising its loss with one optimizer."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tune_qat.config.errors import UsageError
from tune_qat.config.values import real


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
            value = real(f"freezing {name}", getattr(self, name))
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
        object.__setattr__(self, "weight", real("dampening weight", self.weight))
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
        object.__setattr__(self, "learning_rate", real("learning_rate of quantizer_optimizer", self.learning_rate))
        if self.learning_rate <= 0:
            raise UsageError(f"learning_rate of quantizer_optimizer must be positive, but got {self.learning_rate!r}.")
        options = {name: real(f"{name!r} of quantizer_optimizer", value) for name, value in self.options.items()}
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
            object.__setattr__(self, name, real(f"distillation {name}", getattr(self, name)))
        if not 0 < self.weight <= 1:
            raise UsageError(f"distillation weight must be above 0 and at most 1, but got {self.weight!r}.")
        if self.temperature <= 0:
            raise UsageError(f"distillation temperature must be above 0, but got {self.temperature!r}.")
