"""The sections of a study file on what is searched, judged and logged, each with the rules over its own keys."""

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from tune_qat.study.method_sections import MethodSection
from tune_qat.study.sections import AtLeastOne, Count, Positive, Section

Levels = Annotated[list[Literal["own", "own_rate", "adam", "sgd"]], Field(min_length=1)]


class RangeOverride(Section):
    """A range that overrides the table's; either end may be left to the table."""

    low: Positive | None = None
    """Lower bound."""
    high: Positive | None = None
    """Upper bound."""


class BatchSizes(Section):
    """Searched as an integer power of two."""

    low: AtLeastOne
    """Smallest batch size in samples, a power of two."""
    high: AtLeastOne
    """Largest batch size in samples, a power of two."""
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
    """Rates of Adam."""
    sgd: RangeOverride = RangeOverride()
    """Rates of SGD."""


class SpaceSection(Section):
    """The search space. Ranges come from the table of optimizers where the file says nothing."""

    optimizers: Annotated[list[str], Field(min_length=1)]
    """Optimizers of the table, each with arms of its own."""
    learning_rate: RangeOverride = RangeOverride()
    """Overrides the range of every optimizer; `per_optimizer` overrides that of one."""
    batch_size: BatchSizes
    """Batch sizes that are searched."""
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
    """Ranges of the quantizers' learning rate, by who moves them."""


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


NSGA2 = "nsga2"
"""Value of `search.sampler`."""
RETRAINED, BEST, ALL = "retrain", "best", "all"
"""Values of `stages.keep`."""


class StagesSection(Section):
    """Trials that each stage plans, per arm."""

    default: bool = True
    """Whether each arm tries its optimizer's documented default."""
    random: Count = 0
    """Trials of the random stage, in each arm."""
    design: Literal["random", "sobol"] = "random"
    """Points of the random stage: independent draws, or a scrambled Sobol sequence, which is spread evenly."""
    search: Count
    """Trials that the sampler proposes, in each arm."""
    retrain: Count = 3
    """Fresh seeds of the arm's best configuration, the same seeds in every arm."""
    calibrated: bool = False
    """Also evaluate what each arm has chosen as calibrated and not trained, with its retrain seeds."""
    keep: Literal["retrain", "best", "all"] = "retrain"
    """Trained models that stay beside the start: of retrain trials, the best of each arm by its final validation metric
    (of its retrain trials where there are some), or all. With `retrain = 0`, `retrain` is `best`."""


class SearchSection(Section):
    """The sampler of the search stage."""

    sampler: Literal["tpe", "random", "nsga2"] = "tpe"
    """Optuna's TPE, random points, or for several objectives Optuna's NSGA-II."""
    startup_trials: Count = 10
    """Random trials before the sampler's model is used; recorded default and random trials count. Of NSGA-II also the
    size of a generation, which is 2 at least."""
    objectives: Annotated[list[str], Field(min_length=1)] | None = None
    """In joint mode with `search_bits`: the metric, and costs to trade it against (`weight_bytes`, `stored_bytes`,
    `activation_bytes`, `bit_operations`), such as ["accuracy", "weight_bytes"]. Nothing is stopped early then."""


class SelectionSection(Section):
    """The choice of an arm's best configuration, which one trial of each would leave to luck."""

    finalists: Count = 0
    """Best configurations of an arm that are trained again before one is chosen; 0: the best trial decides."""
    seeds: AtLeastOne = 2
    """Further seeds of each finalist, the same seeds in every arm; the mean over all its trials decides."""
    front: AtLeastOne | None = None
    """With `search.objectives`: most points of the front on validation data that get the retrain seeds, spread over it;
    5 where it is left out."""


class AshaSection(Section):
    """Early stopping in the search stage: asynchronous successive halving, the stopping variant."""

    enabled: bool = True
    """Whether trials of the search are stopped early."""
    grace_epochs: AtLeastOne | None = None
    """First rung; where it is left out half of the epochs behind a trained start, and a ninth of them from scratch."""
    reduction_factor: Annotated[int, Field(ge=2)] = 3
    """One of so many goes on at each rung; also the ratio of two rungs."""


class JudgementSection(Section):
    """The judgement of the study, fixed before it runs."""

    metric: str
    """Metric of the task that trials are judged by, such as accuracy or psnr."""
    margin: Annotated[float, Field(ge=0)]
    """Practical equivalence: differences below it do not matter, in the metric's unit."""
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05
    """Level of all tests of one board together."""
    reference: str | None = None
    """Optimizer that every other one is compared with; all pairs are compared where it is left out."""


class LoggingSection(Section):
    """Curves for other tools while the study runs; nothing that is trained or judged depends on it."""

    tensorboard: str | None = None
    """Folder that each epoch is written to for TensorBoard as it is recorded, as `tune-qat export-runs` does; a
    relative one is meant from the folder that the command runs in."""
