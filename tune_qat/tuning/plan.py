"""Planned trials, and the test whether a recorded trial is the same as a planned one."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from tune_qat.config import Scheme, TrialConfig, trial_key
from tune_qat.config.statuses import DEFAULT, FINALISTS, RETRAIN
from tune_qat.study import Arm, Study
from tune_qat.study.arms import OWN
from tune_qat.study.mixed import positions_of, same_but_positions, searches
from tune_qat.study.space import BITS_INDEX, MULTIPLIER, STEP_RATE, Dimensions
from tune_qat.study.steps import level_of
from tune_qat.tuning.group_bits import within_budget

PRETRAIN_ARM = "pretrain"
"""`arm_id` of the trial that all arms share."""
CALIBRATED_ARM = "calibrated"
"""`arm_id` of the trials of that stage, which arms share: it is none, so that nothing which compares arms sees them."""
WARM_UP = "warm_up"
"""Stage of a stand-in that keeps a process alive until all have started; it is no trial and not in the record."""


@dataclass(frozen=True, kw_only=True)
class PlannedTrial:
    """Trial to run: its configuration, its arm and stage, and where the configuration came from."""

    trial_key: str
    arm_id: str
    stage: str
    source: str
    """Origin of the configuration: plan, default, random, sobol or sampler."""
    number: int
    """Position within its arm and stage, from 0."""
    config: TrialConfig
    init_checkpoint_sha256: str | None
    values: Mapping[str, float]
    """Searched values by dimension: batch size, learning rate, bits and options."""
    start_key: str | None = None
    """Key of the pretrain trial whose weights it begins from; None from scratch, or from given weights."""

    def to_json(self) -> str:
        """Return the plan as one text, to travel inside a Ray Tune configuration.

        Ray Tune keeps statistics of every number in a configuration, and copies every part of it, for each trial.
        """
        return json.dumps({**self.__dict__, "config": self.config.to_dict()})

    @classmethod
    def from_json(cls, text: str) -> "PlannedTrial":
        values = json.loads(text)
        return cls(**{**values, "config": TrialConfig.from_dict(values["config"])})


class Keys(Protocol):
    """Source of trial keys: a workload, or what a record says of one."""

    def key(self, config: TrialConfig, stage: str, init_checkpoint_sha256: str | None) -> str:
        """Return a trial's key."""


K = TypeVar("K", bound=Keys)


@dataclass(frozen=True)
class DataDraws(Generic[K]):
    """Data of a study by the options that draw it: one, unless repeats have subsets or splits of their own."""

    by_options: Mapping[str, K]

    @classmethod
    def of_study(
        cls, study: Study, load: Callable[[Mapping[str, Any]], K], repeats: Iterable[int] | None = None
    ) -> "DataDraws[K]":
        """Load the data of each of these repeats, or of all that the file has; the same data once."""
        options = [study.data_options(repeat) for repeat in repeats or study.repeat_numbers]
        return cls({_options_key(one): load(one) for one in {_options_key(one): one for one in options}.values()})

    @property
    def first(self) -> K:
        """The data of the first repeat; draws differ in nothing but subset and validation split."""
        return next(iter(self.by_options.values()))

    def __contains__(self, options: Mapping[str, Any]) -> bool:
        return _options_key(options) in self.by_options

    def of(self, options: Mapping[str, Any]) -> K:
        """Return the data with these options."""
        return self.by_options[_options_key(options)]

    def key(self, config: TrialConfig, stage: str, init_checkpoint_sha256: str | None) -> str:
        """Return a trial's key, on the data that its options draw."""
        return self.of(config.dataset_options).key(config, stage, init_checkpoint_sha256)


def _options_key(options: Mapping[str, Any]) -> str:
    return json.dumps(dict(options), sort_keys=True)


@dataclass(frozen=True, kw_only=True)
class RecordedData:
    """Fingerprints of a study's data in a record, in place of the data itself."""

    data_fingerprint: str
    split_fingerprint: str

    def key(self, config: TrialConfig, stage: str, init_checkpoint_sha256: str | None) -> str:
        return trial_key(
            config,
            stage,
            data_fingerprint=self.data_fingerprint,
            split_fingerprint=self.split_fingerprint,
            init_checkpoint_sha256=init_checkpoint_sha256,
        )


@dataclass(frozen=True, kw_only=True)
class Planner:
    """Planner of one study's trials on one workload; it also recognises the recorded trials that fit the study."""

    study: Study
    work: Keys
    init_sha256: str | None = None
    """Hash of the weights that trials start from; None from scratch, and while the start is not known yet.

    Of the planner that a study begins with, those that it gives: pretrained starts begin from them."""
    start_key: str | None = None
    """Key of the pretrain trial that makes them; None where they are random, or there already."""
    _dimensions: dict[Any, Dimensions] = field(default_factory=dict, init=False, repr=False, compare=False)

    def dimensions(self, optimizer: str, scheme: Scheme | None = None, level: str = OWN) -> Dimensions:
        """Return the search space of one optimizer, computed once; `level` says who moves quantizers' parameters."""
        searched = scheme is not None and searches(self.study.quantization, scheme)
        key = optimizer, scheme is not None and scheme.is_float, searched, level
        if key not in self._dimensions:
            self._dimensions[key] = self.study.dimensions(optimizer, scheme, level)
        return self._dimensions[key]

    def dimensions_of(self, config: TrialConfig) -> Dimensions:
        """Return the search space that a configuration is a point of."""
        return self.dimensions(config.optimizer, config.scheme, level_of(self.study.space, config))

    def plan(
        self, arm: Arm, stage: str, optimizer: str, values: Mapping[str, float], *, seed: int, number: int, source: str
    ) -> PlannedTrial:
        values = within_budget(self.study.quantization, arm.scheme, values)
        config = self.study.config(arm, optimizer, values, seed=seed)
        return self.of_config(config, arm.arm_id, stage, values, number=number, source=source)

    def of_config(
        self,
        config: TrialConfig,
        arm_id: str,
        stage: str,
        values: Mapping[str, float],
        *,
        number: int = 0,
        source: str = "plan",
    ) -> PlannedTrial:
        """Plan the trial of a resolved configuration."""
        return PlannedTrial(
            trial_key=self.work.key(config, stage, self.init_sha256),
            arm_id=arm_id,
            stage=stage,
            source=source,
            number=number,
            config=config,
            init_checkpoint_sha256=self.init_sha256,
            values=dict(values),
            start_key=self.start_key,
        )

    def recorded(self, arm: Arm, row: Mapping[str, Any]) -> PlannedTrial | None:
        """Plan a recorded trial of this arm again; None if it is not the `same` trial, or outside today's ranges.

        A default, finalists or retrain trial fits whatever the ranges are.
        """
        plan = self.same(arm, row)
        if plan is None or plan.stage in (DEFAULT, FINALISTS, RETRAIN) or self.in_range(plan):
            return plan
        return None

    def same(self, arm: Arm, row: Mapping[str, Any]) -> PlannedTrial | None:
        """Plan a recorded trial of this arm again; None if its searched values give another key in today's study."""
        old = TrialConfig.of_record(row["trial_key"], row["params_json"])
        part = self.study.quantization
        if old.optimizer not in arm.optimizers or not (
            old.scheme in arm.schemes or same_but_positions(part, old.scheme, arm.scheme)
        ):
            return None
        if level_of(self.study.space, old) != arm.step_optimizer:
            return None
        values, number, source = self.searched_values(old), row["trial_number"], row["source"]
        plan = self.plan(arm, row["stage"], old.optimizer, values, seed=old.seed, number=number, source=source)
        return plan if plan.trial_key == row["trial_key"] else None

    def in_range(self, plan: PlannedTrial) -> bool:
        """Tell whether all values of the plan lie within the searched ranges."""
        ranges = self.dimensions_of(plan.config)
        return all(bounds.low <= plan.values[name] <= bounds.high for name, bounds in ranges.items())

    def searched_values(self, config: TrialConfig) -> dict[str, float]:
        """Pick the values of a configuration that the study searches."""
        searched, found = self.dimensions_of(config), option_values(config)
        if BITS_INDEX in searched:
            found[BITS_INDEX] = self.study.schemes.index(config.scheme)
        found |= positions_of(self.study.quantization, config.scheme)
        return {name: found[name] for name in searched}


def option_values(config: TrialConfig) -> dict[str, Any]:
    """Return by name every value of a configuration that can be a dimension of the search space, except its bits."""
    return {
        **config.optimizer_options,
        "learning_rate": config.learning_rate,
        "batch_size": config.batch_size,
        MULTIPLIER: config.quantizer_lr_multiplier,
        **({STEP_RATE: config.quantizer_optimizer.learning_rate} if config.quantizer_optimizer else {}),
    }
