"""Recipes: what a trial may do beside minimising its loss with one optimizer."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tune_qat.config.errors import UsageError
from tune_qat.config.scheme import Scheme
from tune_qat.config.values import check, real, settle


@dataclass(frozen=True, kw_only=True, slots=True)
class Freezing:
    """Iterative weight freezing (Nagel et al., ICML 2022, arXiv 2203.11086, algorithm 1)."""

    threshold_start: float
    """Oscillations per step above which a weight is frozen, where freezing begins: a quarter into the training."""
    threshold_end: float
    """Threshold at the last step, reached along a cosine."""
    momentum: float = 0.01
    """Momentum of the moving averages over steps."""

    def __post_init__(self) -> None:
        names = ("threshold_start", "threshold_end", "momentum")
        settle(self, real, *names, said="freezing {}")
        for name in names:
            value = getattr(self, name)
            check(0 < value < 1, f"freezing {name}", "be above 0 and below 1", value)
        start, end = self.threshold_start, self.threshold_end
        check(end <= start, "freezing threshold_end", f"be at most threshold_start ({start!r})", end)
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
        settle(self, real, "weight", said="dampening {}")
        check(self.weight > 0, "dampening weight", "be above 0", self.weight)


@dataclass(frozen=True, kw_only=True, slots=True)
class QuantizerOptimizer:
    """The optimizer of the quantizers' parameters, where it is not that of the weights."""

    name: str
    learning_rate: float
    """Peak; the schedule is the weights'."""
    options: Mapping[str, float] = field(default_factory=dict)
    """Everything else that it takes; `weight_decay` reaches the parameters whose method asks for it."""

    def __post_init__(self) -> None:
        settle(self, real, "learning_rate", said="{} of quantizer_optimizer")
        check(self.learning_rate > 0, "learning_rate of quantizer_optimizer", "be positive", self.learning_rate)
        options = {name: real(f"{name!r} of quantizer_optimizer", value) for name, value in self.options.items()}
        object.__setattr__(self, "options", options)


@dataclass(frozen=True, kw_only=True, slots=True)
class Worsening:
    """Noise on the weights of a start, as much as makes it no better than a calibrated model: nothing is trained."""

    scheme: Scheme
    """Scheme of that model, which has the same start."""
    within: float
    """Largest difference of the two models' validation metrics, in the metric's unit."""

    def __post_init__(self) -> None:
        if not isinstance(self.scheme, Scheme):  # as a record has it
            object.__setattr__(self, "scheme", Scheme(**self.scheme))
        settle(self, real, "within", said="worsening {}")
        check(self.within > 0, "worsening within", "be above 0", self.within)


@dataclass(frozen=True, kw_only=True, slots=True)
class Distillation:
    """Learning from the predictions of the floating-point model that the trial starts from, beside the labels."""

    weight: float = 0.5
    """Share of the teacher in the loss; the labels have what is left of 1."""
    temperature: float = 1.0
    """Divisor of both models' logits."""

    def __post_init__(self) -> None:
        settle(self, real, "weight", "temperature", said="distillation {}")
        check(0 < self.weight <= 1, "distillation weight", "be above 0 and at most 1", self.weight)
        check(self.temperature > 0, "distillation temperature", "be above 0", self.temperature)
