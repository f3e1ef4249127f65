"""One planned trial, and how a recorded one is recognised as the same."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from tune_qat.config import TrialConfig
from tune_qat.config.statuses import DEFAULT, RETRAIN
from tune_qat.study import Arm, Study
from tune_qat.study.space import BITS, Dimensions

PRETRAIN_ARM = "pretrain"
"""`arm_id` of the trial that all arms share."""
WARM_UP = "warm_up"
"""Stage of what only keeps a process until all have started; no trial, and not in the record."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A trial to run: what, why and for which arm."""

    trial_key: str
    arm_id: str
    stage: str
    source: str
    """Where the configuration came from: plan, default, random, sampler, or record (cut off before)."""
    number: int
    """From 0 within its arm and stage."""
    config: TrialConfig
    init_checkpoint_sha256: str | None
    values: Mapping[str, float]
    """What the sampler proposed: batch size, learning rate and searched options."""

    def to_json(self) -> str:
        """Write the plan as one value, to travel inside a Ray Tune configuration.

        Ray Tune keeps statistics of every number in a configuration, and copies every part of it, for each trial.
        """
        return json.dumps({**self.__dict__, "config": self.config.to_dict()})

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        values = json.loads(text)
        return cls(**{**values, "config": TrialConfig.from_dict(values["config"])})


class Keys(Protocol):
    """What trials' keys come from: a workload, or what a record says of one."""

    def key(self, config: TrialConfig, stage: str, init_checkpoint_sha256: str | None) -> str:
        """Work out a trial's key."""


@dataclass(frozen=True, kw_only=True)
class Planner:
    """Makes plans of one study on one workload, and recognises the recorded trials that fit it."""

    study: Study
    work: Keys
    init_sha256: str | None = None
    """Hash of the weights that trials start from; None from scratch, and where the start is not known yet."""
    _dimensions: dict[str, Dimensions] = field(default_factory=dict, init=False, repr=False, compare=False)

    def dimensions(self, optimizer: str) -> Dimensions:
        """Give what is searched for one optimizer, worked out once for all trials."""
        if optimizer not in self._dimensions:
            self._dimensions[optimizer] = self.study.dimensions(optimizer)
        return self._dimensions[optimizer]

    def plan(
        self,
        arm: Arm,
        stage: str,
        optimizer: str,
        values: Mapping[str, float],
        *,
        seed: int,
        number: int,
        source: str,
    ) -> Plan:
        """Plan the trial of these values in this arm and stage."""
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
    ) -> Plan:
        """Plan the trial of a configuration that is resolved already."""
        return Plan(
            trial_key=self.work.key(config, stage, self.init_sha256),
            arm_id=arm_id,
            stage=stage,
            source=source,
            number=number,
            config=config,
            init_checkpoint_sha256=self.init_sha256,
            values=dict(values),
        )

    def recorded(self, arm: Arm, row: Mapping[str, Any]) -> Plan | None:
        """Plan a recorded trial of this arm again; None if it does not fit the study as it is now.

        It fits if it is the `same` trial today, and its searched values lie within today's ranges.
        """
        plan = self.same(arm, row)
        if plan is None or plan.stage in (DEFAULT, RETRAIN):
            return plan
        return plan if self.in_range(plan) else None

    def same(self, arm: Arm, row: Mapping[str, Any]) -> Plan | None:
        """Plan a recorded trial of this arm again, whatever the ranges; None if it would be another trial today.

        It is the same if its searched values, put into today's study, give the same key.
        """
        old = TrialConfig.from_dict(json.loads(row["params_json"]))
        if old.optimizer not in arm.optimizers or old.scheme not in arm.schemes:
            return None
        values, number, source = self.searched_values(old), row["trial_number"], row["source"]
        plan = self.plan(arm, row["stage"], old.optimizer, values, seed=old.seed, number=number, source=source)
        return plan if plan.trial_key == row["trial_key"] else None

    def in_range(self, plan: Plan) -> bool:
        """Whether the plan's values lie within the ranges that are searched."""
        ranges = self.dimensions(plan.config.optimizer)
        return all(bounds.low <= plan.values[name] <= bounds.high for name, bounds in ranges.items())

    def searched_values(self, config: TrialConfig) -> dict[str, float]:
        """Pick the values of a configuration that the study searches."""
        everything = {
            **config.optimizer_options,
            "learning_rate": config.learning_rate,
            "batch_size": config.batch_size,
            "quantizer_lr_multiplier": config.quantizer_lr_multiplier,
        }
        searched = self.dimensions(config.optimizer)
        if BITS in searched:
            everything[BITS] = self.study.schemes.index(config.scheme)
        return {name: everything[name] for name in searched}
