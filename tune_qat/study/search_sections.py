"""The sections of a study file on what is searched and how it is judged, each with the rules over its own keys."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from tune_qat.study.sections import AtLeastOne, Count, MethodSection, Positive, Section

Levels = Annotated[list[Literal["own", "own_rate", "adam", "sgd"]], Field(min_length=1)]


class RangeOverride(Section):
    """A range that overrides the table's; either end may be left to the table."""

    low: Positive | None = None
    high: Positive | None = None


class BatchSizes(Section):
    """Searched as an integer power of two."""

    low: AtLeastOne
    high: AtLeastOne
    default: int | None = None
    """The size that the `default` stage takes; the power of two in the middle where it is left out."""

    @model_validator(mode="after")
    def _powers(self) -> "BatchSizes":
        for name in ("low", "high", "default"):
            value = getattr(self, name)
            if value is not None and (value < 1 or value & (value - 1)):
                raise ValueError(f"{name} must be a power of two, but got {value}")
        if self.low > self.high:
            raise ValueError(f"low must be at most high, but got low = {self.low} and high = {self.high}")
        if not self.low <= self.middle <= self.high:
            raise ValueError(f"default must be from low ({self.low}) to high ({self.high}), but got {self.middle}")
        return self

    @property
    def middle(self) -> int:
        """The size that the `default` stage takes: of two powers in the middle the smaller."""
        if self.default is not None:
            return self.default
        return 2 ** ((self.low.bit_length() + self.high.bit_length() - 2) // 2)


class StepRates(Section):
    """Ranges of the learning rate of quantizers' parameters by who moves them, in place of the table's."""

    own_rate: RangeOverride = RangeOverride()
    """Multiples of the weights' rate."""
    adam: RangeOverride = RangeOverride()
    sgd: RangeOverride = RangeOverride()


class SpaceSection(Section):
    """The search space. Ranges come from the table of optimizers where the file says nothing."""

    optimizers: Annotated[list[str], Field(min_length=1)]
    learning_rate: RangeOverride = RangeOverride()
    """Overrides the range of every optimizer; `per_optimizer` overrides that of one."""
    batch_size: BatchSizes
    quantizer_lr_multiplier: RangeOverride | None = None
    """Searched between these bounds where given (both needed); 1.0 otherwise."""
    per_optimizer: dict[str, dict[str, RangeOverride]] = {}
    """`[space.per_optimizer.NAME.OPTION]` with low and high: searches an option, or overrides its range."""
    fixed: dict[str, dict[str, float]] = {}
    """`[space.fixed.NAME]`: options of an optimizer set to a value and not searched."""
    step_optimizers: Levels = ["own"]
    """Who moves the parameters of quantizers, each in arms of its own; one arm where there are none, as at 32/32."""
    step_optimizers_of: dict[str, Levels] = {}
    """`[space.step_optimizers_of]`: other ones for an optimizer, by its name."""
    step_rates: StepRates = StepRates()


class ControlSection(Section):
    """A second control beside 32/32."""

    kind: Literal["worsened"]
    """`worsened`: 32/32 from a start that noise on its weights has made no better than a calibrated model."""
    bits: Annotated[list[list[int]], Field(min_length=1)] | None = None
    """Quantized pairs that it is for; all of them where they are left out."""
    optimizers: Annotated[list[str], Field(min_length=1)] | None = None
    """Optimizers of the space that it has arms for; all of them where they are left out."""

    @field_validator("bits")
    @classmethod
    def _pairs(cls, bits: list[list[int]] | None) -> list[list[int]] | None:
        return None if bits is None else MethodSection._pairs(bits)


class StagesSection(Section):
    """Trials that each stage plans, per arm."""

    default: bool = True
    random: Count = 0
    design: Literal["random", "sobol"] = "random"
    """Points of the random stage: independent draws, or a scrambled Sobol sequence, which is spread evenly."""
    search: Count
    retrain: Count = 3
    """Fresh seeds of the arm's best configuration, the same seeds in every arm."""


class SearchSection(Section):
    """The sampler of the search stage."""

    sampler: Literal["tpe", "random"] = "tpe"
    startup_trials: Count = 10
    """Random trials before the sampler's model is used; recorded default and random trials count."""


class SelectionSection(Section):
    """The choice of an arm's best configuration, which one trial of each would leave to luck."""

    finalists: Count = 0
    """Best configurations of an arm that are trained again before one is chosen; 0: the best trial decides."""
    seeds: AtLeastOne = 2
    """Further seeds of each finalist, the same seeds in every arm; the mean over all its trials decides."""


class AshaSection(Section):
    """Early stopping in the search stage: asynchronous successive halving, the stopping variant."""

    enabled: bool = True
    grace_epochs: AtLeastOne | None = None
    """First rung; where it is left out half of the epochs behind a trained start, and a ninth of them from scratch."""
    reduction_factor: Annotated[int, Field(ge=2)] = 3


class JudgementSection(Section):
    """The judgement of the study, fixed before it runs."""

    metric: str
    margin: Annotated[float, Field(ge=0)]
    """Practical equivalence: differences below it do not matter, in the metric's unit."""
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    reference: str | None = None
    """Optimizer that every other one is compared with; all pairs are compared where it is left out."""
