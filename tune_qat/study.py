"""A study: what one file of `search_spaces/` says, validated, with its arms and the trials they plan."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from tune_qat import data, models, optimizers, quantizers
from tune_qat.config import (
    PLAIN_NAME,
    SCHEDULES,
    STE_VARIANTS,
    Scheme,
    TrialConfig,
    UsageError,
    grace_epochs,
    stable_hash,
)
from tune_qat.space import Dimensions, dimensions

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Count = Annotated[int, Field(ge=0)]
SEEDS_APART = 10_000
"""Distance between the seeds of two repeats: no repeat has that many retrain seeds."""


class Section(BaseModel):
    """A part of the file: an unknown key or a wrong type is an error, and nothing changes after loading."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class WorkloadSection(Section):
    """Which model on which data."""

    model: str
    dataset: str
    options: dict[str, Any] = {}
    """Options of the dataset, such as `scale` of a super-resolution set."""


class QuantizationSection(Section):
    """Which quantizer, at which pairs of weight and activation bits; [32, 32] is the floating-point control."""

    quantizer: str = "lsq"
    bits: Annotated[list[list[int]], Field(min_length=1)]
    first_last_bits: int = 8
    ste: Literal[STE_VARIANTS] = "clip_then_round"  # type: ignore[valid-type]

    @field_validator("bits")
    @classmethod
    def _pairs(cls, bits: list[list[int]]) -> list[list[int]]:
        for pair in bits:
            if len(pair) != 2:
                raise ValueError(f"each entry must be [weight bits, activation bits], but got {pair}")
        if len({tuple(pair) for pair in bits}) != len(bits):
            raise ValueError(f"each pair of bits may appear once, but got {bits}")
        return bits


class TrainingSection(Section):
    """How long every trial trains, and from where."""

    epochs: Annotated[int, Field(ge=1)]
    schedule: Literal[SCHEDULES] = "cosine"  # type: ignore[valid-type]
    warmup_epochs: Annotated[float, Field(ge=0)] = 0.0
    init: Literal["pretrain", "scratch", "path"] = "pretrain"
    init_path: str | None = None

    @model_validator(mode="after")
    def _path(self) -> "TrainingSection":
        if (self.init == "path") != (self.init_path is not None):
            raise ValueError('init_path is the checkpoint of init = "path", and goes with nothing else')
        return self


class PretrainSection(Section):
    """The floating-point model that all arms start from."""

    optimizer: str = "adam"
    optimizer_options: dict[str, float] = {}
    learning_rate: Positive = 1e-3
    batch_size: Annotated[int, Field(ge=1)]
    epochs: Annotated[int, Field(ge=1)]
    schedule: Literal[SCHEDULES] = "cosine"  # type: ignore[valid-type]
    warmup_epochs: Annotated[float, Field(ge=0)] = 0.0


class Bounds(Section):
    """A range that overrides the table's; either end may be left to the table."""

    low: Positive | None = None
    high: Positive | None = None


class BatchSizes(Section):
    """Searched as an integer power of two."""

    low: Annotated[int, Field(ge=1)]
    high: Annotated[int, Field(ge=1)]
    default: int | None = None
    """Of the `default` stage; the power of two in the middle where it is left out."""

    @model_validator(mode="after")
    def _powers(self) -> "BatchSizes":
        for name in ("low", "high", "default"):
            value = getattr(self, name)
            if value is not None and (value < 1 or value & (value - 1)):
                raise ValueError(f"{name} must be a power of two, but got {value}")
        if self.low > self.high or not self.low <= self.middle <= self.high:
            raise ValueError(f"low <= default <= high must hold, but got {self.low}, {self.middle}, {self.high}")
        return self

    @property
    def middle(self) -> int:
        if self.default is not None:
            return self.default
        return 2 ** ((self.low.bit_length() + self.high.bit_length() - 2) // 2)


class SpaceSection(Section):
    """What is searched. Ranges come from the table of optimizers where the file says nothing."""

    optimizers: Annotated[list[str], Field(min_length=1)]
    learning_rate: Bounds = Bounds()
    """Overrides the range of every optimizer; `per_optimizer` overrides that of one."""
    batch_size: BatchSizes
    quantizer_lr_multiplier: Bounds | None = None
    """Searched between these bounds where given (both needed); 1.0 otherwise."""
    per_optimizer: dict[str, dict[str, Bounds]] = {}
    """`[space.per_optimizer.NAME.OPTION]` with low and high: searches an option, or overrides its range."""
    fixed: dict[str, dict[str, float]] = {}
    """`[space.fixed.NAME]`: options of an optimizer set to a value and not searched."""


class StagesSection(Section):
    """How many trials each stage plans, per arm."""

    default: bool = True
    random: Count = 0
    search: Count
    retrain: Count = 3
    """Fresh seeds of the arm's best configuration, the same seeds in every arm."""


class SearchSection(Section):
    """The sampler of the search stage."""

    sampler: Literal["tpe", "random"] = "tpe"
    startup_trials: Count = 10
    """Random trials before the sampler's model is used; recorded default and random trials count."""


class AshaSection(Section):
    """Early stopping in the search stage: asynchronous successive halving, the stopping variant."""

    enabled: bool = True
    grace_epochs: Annotated[int, Field(ge=1)] | None = None
    """First rung; a ninth of the epochs where it is left out."""
    reduction_factor: Annotated[int, Field(ge=2)] = 3


class JudgementSection(Section):
    """What the study is judged by, fixed before it runs."""

    metric: str
    margin: Annotated[float, Field(ge=0)]
    """Practical equivalence: differences below it do not matter, in the metric's unit."""
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.05


@dataclass(frozen=True, kw_only=True, slots=True)
class Arm:
    """One optimizer at one bit width (all optimizers in joint mode): its own sampler, its own ASHA."""

    arm_id: str
    scheme: Scheme
    optimizers: tuple[str, ...]
    """One in comparison mode."""
    repeat: int

    @property
    def optimizer(self) -> str | None:
        """The arm's optimizer; None in joint mode."""
        return self.optimizers[0] if len(self.optimizers) == 1 else None


class Study(Section):
    """One study file, validated. `Study.load(name_or_path)` reads one."""

    name: str
    mode: Literal["comparison", "joint"] = "comparison"
    seed: Annotated[int, Field(ge=0)] = 0
    repeats: Annotated[int, Field(ge=1)] = 1
    max_failed_trials: Count = 10
    data_dir: str | None = None
    workload: WorkloadSection
    quantization: QuantizationSection
    training: TrainingSection
    pretrain: PretrainSection | None = None
    space: SpaceSection
    stages: StagesSection
    search: SearchSection = SearchSection()
    asha: AshaSection = AshaSection()
    judgement: JudgementSection

    @classmethod
    def load(cls, space: str, overrides: Mapping[str, Any] | None = None) -> "Study":
        """Read a bundled study or a TOML file, with `overrides` by dotted key; `UsageError` names what is wrong."""
        from tune_qat.study_file import load_study

        return load_study(cls, space, overrides or {})

    @model_validator(mode="after")
    def _names_are_known(self) -> "Study":
        if not PLAIN_NAME.fullmatch(self.name):
            raise ValueError(
                f"name must be a plain file name (letters, digits, '.', '_', '-', not first), but got {self.name!r}"
            )
        spec = data.get_spec(self.workload.dataset)
        models.check_fits_task(self.workload.model, spec)
        data.resolve_options(spec, self.workload.options)
        if self.judgement.metric != spec.metric:
            raise ValueError(
                f"judgement.metric must be {spec.metric!r}, the metric of dataset {spec.name!r}, "
                f"but got {self.judgement.metric!r}"
            )
        quantizers.get_spec(self.quantization.quantizer)
        for scheme in self.schemes:
            quantizers.check_scheme(scheme)
        if self.training.init == "pretrain" and self.pretrain is None:
            raise ValueError('training.init = "pretrain" needs a [pretrain] section')
        if self.stages.retrain >= SEEDS_APART:
            raise ValueError(f"stages.retrain must be below {SEEDS_APART}")
        return self

    @model_validator(mode="after")
    def _space_is_sound(self) -> "Study":
        names = self.space.optimizers
        if len(set(names)) != len(names):
            raise ValueError(f"space.optimizers: each optimizer may appear once, but got {names}")
        for section in (self.space.per_optimizer, self.space.fixed):
            for name in section:
                if name not in names:
                    raise ValueError(f"space: {name!r} is not among space.optimizers ({', '.join(names)})")
        for name in names:
            optimizers.resolve_options(name, self.space.fixed.get(name, {}))
            self.dimensions(name)
        if self.pretrain is not None:
            optimizers.resolve_options(self.pretrain.optimizer, self.pretrain.optimizer_options)
            self.pretrain_config()
        if self.grace_epochs > self.training.epochs:
            raise ValueError(
                f"asha.grace_epochs must be at most training.epochs ({self.training.epochs}), "
                f"but got {self.grace_epochs}"
            )
        self.default_config(self.arms()[0], names[0])
        return self

    @property
    def schemes(self) -> tuple[Scheme, ...]:
        part = self.quantization
        return tuple(
            Scheme.of(
                quantizer=part.quantizer,
                weight_bits=weight,
                activation_bits=activation,
                first_last_bits=part.first_last_bits,
                ste=part.ste,
            )
            for weight, activation in part.bits
        )

    @property
    def grace_epochs(self) -> int:
        """ASHA's first rung."""
        return self.asha.grace_epochs or grace_epochs(self.training.epochs)

    @property
    def rungs(self) -> tuple[int, ...]:
        """Epochs at which ASHA may stop a trial."""
        grace, factor, rungs = self.grace_epochs, self.asha.reduction_factor, []
        while grace < self.training.epochs and self.asha.enabled:
            rungs.append(grace)
            grace *= factor
        return tuple(rungs)

    @property
    def prereg_hash(self) -> str:
        """Hash of what is judged: metric, margin, alpha and the number of retrain seeds."""
        return stable_hash({**self.judgement.model_dump(), "seeds": self.stages.retrain})

    def arms(self) -> list[Arm]:
        """Every arm, controls first in the order of the file."""
        names = self.space.optimizers
        groups = [tuple(names)] if self.mode == "joint" else [(name,) for name in names]
        return [
            Arm(arm_id=_arm_id(self.mode, group, scheme, repeat), scheme=scheme, optimizers=group, repeat=repeat)
            for scheme in self.schemes
            for group in groups
            for repeat in range(self.repeats)
        ]

    def dimensions(self, optimizer: str) -> Dimensions:
        """What is searched for one optimizer: its dimensions by name."""
        return dimensions(self.space, optimizer)

    def planned(self, arm: Arm) -> dict[str, int]:
        """Trials per stage of an arm, the same for every arm."""
        stages = self.stages
        return {
            "default": len(arm.optimizers) if stages.default else 0,
            "random": stages.random,
            "search": stages.search,
            "retrain": stages.retrain,
        }

    def seed_of(self, arm: Arm) -> int:
        """Seed of the arm's sampler and of its trials before `retrain`."""
        return self.seed + arm.repeat * SEEDS_APART

    def retrain_seeds(self, arm: Arm) -> range:
        """Fresh seeds, the same in every arm, so that differences between arms are paired."""
        first = self.seed_of(arm) + 1
        return range(first, first + self.stages.retrain)

    def pretrain_config(self) -> TrialConfig:
        """The floating-point run that all arms start from."""
        part = self.pretrain
        if part is None:
            raise UsageError(f"Study {self.name!r} has no [pretrain] section.")
        return TrialConfig(
            model=self.workload.model,
            dataset=self.workload.dataset,
            dataset_options=self.dataset_options,
            scheme=Scheme.floating_point(),
            optimizer=part.optimizer,
            learning_rate=part.learning_rate,
            optimizer_options=optimizers.resolve_options(part.optimizer, part.optimizer_options),
            batch_size=part.batch_size,
            epochs=part.epochs,
            schedule=part.schedule,
            warmup_epochs=part.warmup_epochs,
            seed=self.seed,
            init_seed=self.seed,
        )

    @property
    def dataset_options(self) -> dict[str, Any]:
        return data.resolve_options(data.get_spec(self.workload.dataset), self.workload.options)

    def default_config(self, arm: Arm, optimizer: str) -> TrialConfig:
        """The optimizer's documented defaults at the default batch size."""
        spec = optimizers.get_spec(optimizer)
        values = {"learning_rate": spec.default_learning_rate, "batch_size": self.space.batch_size.middle}
        return self.config(arm, optimizer, values, seed=self.seed_of(arm))

    def config(self, arm: Arm, optimizer: str, values: Mapping[str, float], *, seed: int) -> TrialConfig:
        """A configuration of the arm: `values` are learning rate, batch size and the options that are searched."""
        values = dict(values)
        learning_rate = values.pop("learning_rate")
        batch_size = int(values.pop("batch_size"))
        multiplier = values.pop("quantizer_lr_multiplier", 1.0)
        return TrialConfig(
            model=self.workload.model,
            dataset=self.workload.dataset,
            dataset_options=self.dataset_options,
            scheme=arm.scheme,
            optimizer=optimizer,
            learning_rate=learning_rate,
            optimizer_options=optimizers.resolve_options(optimizer, {**self.space.fixed.get(optimizer, {}), **values}),
            quantizer_lr_multiplier=1.0 if arm.scheme.is_float else multiplier,
            batch_size=batch_size,
            epochs=self.training.epochs,
            schedule=self.training.schedule,
            warmup_epochs=self.training.warmup_epochs,
            seed=seed,
            init_seed=seed,
        )

    def trial_epochs(self) -> Iterator[tuple[str, int, int]]:
        """What each stage costs at most: (stage, trials, epochs in all), in the order they run."""
        if self.training.init == "pretrain" and self.pretrain is not None:
            yield "pretrain", 1, self.pretrain.epochs
        totals: dict[str, int] = {}
        for arm in self.arms():
            for stage, trials in self.planned(arm).items():
                totals[stage] = totals.get(stage, 0) + trials
        for stage, trials in totals.items():
            if trials:
                yield stage, trials, trials * self.training.epochs


def _arm_id(mode: str, group: tuple[str, ...], scheme: Scheme, repeat: int) -> str:
    name = "joint" if mode == "joint" else group[0]
    return f"{name}-{scheme.label}" + (f"-r{repeat + 1}" if repeat else "")
