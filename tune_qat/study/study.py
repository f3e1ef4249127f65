"""A study: what one file of `search_spaces/` says, validated, with its arms and the trials they plan."""

from collections.abc import Mapping
from functools import partial
from typing import Any

from pydantic import model_validator

from tune_qat import data, optimizers
from tune_qat.config import QuantizerOptimizer, Scheme, TrialConfig
from tune_qat.study import controls, mixed, rules, sections, steps
from tune_qat.study.arms import OWN_RATE, Arm
from tune_qat.study.file import load_study
from tune_qat.study.keys import StudyKeys
from tune_qat.study.mistakes import reported_at
from tune_qat.study.notebook import study_html
from tune_qat.study.objectives import check_objectives
from tune_qat.study.repeats import SEEDS_APART, check_repeats
from tune_qat.study.space import BITS_INDEX, MULTIPLIER, STEP_RATE, check_space


class Study(StudyKeys):
    """One study file, validated. `Study.load(name_or_path)` reads one."""

    @classmethod
    def load(cls, space: str, overrides: Mapping[str, Any] | None = None) -> "Study":
        """Read a bundled study or a TOML file, with `overrides` by dotted key; `UsageError` names what is wrong."""
        return load_study(cls, space, overrides or {})

    def _repr_html_(self) -> str:
        """Return the study as tables, which a notebook shows."""
        return study_html(self)

    @model_validator(mode="after")
    def _is_sound(self) -> "Study":
        """Name the first rule that is broken: from what is said first to what follows from it."""
        rules.check_name(self.name)
        rules.check_workload(self.workload, self.judgement, self.training)
        rules.check_quantizers(self.quantization, self.training, self.mode)
        rules.check_searched_bits(self.mode, self.quantization)
        check_objectives(self.search, self.selection, self.quantization, metric=self.judgement.metric, mode=self.mode)
        check_space(self.space)
        rules.check_micro_batches(self.training, self.space, self.pretrain)
        rules.check_reference(self.judgement, self.space, self.mode)
        rules.check_start(self.training, self.pretrain)
        spec, options = data.get_spec(self.workload.dataset, self.workload.task), self.workload.options
        check_repeats(
            self.repeat,
            self.repeats,
            mode=self.mode,
            init=self.training.init,
            starts=self._starts,
            options=options,
            dataset=spec.name,
            known=spec.options,
        )
        for number in self.repeat_numbers[: len(self._starts) or 1] if self.pretrain is not None else ():
            rules.check_trial("pretrain", partial(self.pretrain_config, number))
        rules.check_stages(self.stages, self.training, self.first_rung)
        rules.check_seed(self.seed, self.repeats)
        rules.check_quantizer_optimizer(self.space, self.training)
        steps.check_steps(self.space, self.quantization, self.training, self.mode)
        controls.check_controls(
            self.controls, self.quantization, self.training, self.judgement, self.space.optimizers, self.mode
        )
        with reported_at("training.quantizer_optimizer"):
            self.quantizer_optimizer  # noqa: B018  it checks itself
        if self.selection.finalists:
            planned = {arm.arm_id: self.planned(arm) for arm in self.arms()}
            rules.check_selection(self.selection, self.stages, planned)
        for arm in self.arms():
            for optimizer in arm.optimizers:
                rules.check_trial("training", partial(self.default_config, arm, optimizer))
        return self

    def pretrain_config(self, repeat: int) -> TrialConfig:
        """Resolve the floating-point run that all arms of a repeat start from; the study has a `[pretrain]` section."""
        assert self.pretrain is not None
        part, drawn = self.pretrain, self.drawn(repeat)
        by = drawn.start or part
        return self._trial(
            by.optimizer,
            by.optimizer_options,
            repeat,
            seed=drawn.start_seed,
            init_seed=drawn.start_seed,
            scheme=Scheme.floating_point(),
            learning_rate=by.learning_rate,
            batch_size=part.batch_size,
            **_rate_over_time(part, by.optimizer, said="schedule" in part.model_fields_set),
            **self.training.memory,
        )

    def _trial(self, optimizer: str, options: Mapping[str, float], repeat: int, **others: Any) -> TrialConfig:
        """Resolve a trial on the study's workload in a repeat, its options over those of the tables."""
        return TrialConfig(
            model=self.workload.model,
            model_options=self.workload.model_options,
            dataset=self.workload.dataset,
            dataset_options=self.data_options(repeat),
            task=self.workload.task,
            optimizer=optimizer,
            optimizer_options=optimizers.resolve_options(optimizer, options),
            sources=self.sources,
            label_smoothing=self.training.label_smoothing,
            **others,
        )

    @property
    def quantizer_optimizer(self) -> QuantizerOptimizer | None:
        """Optimizer of the quantizers' parameters in quantized arms; None: the arm's own."""
        part = self.training.quantizer_optimizer
        if part is None:
            return None
        rate = part.learning_rate or optimizers.get_spec(part.optimizer).default_learning_rate
        options = optimizers.resolve_options(part.optimizer, part.options)
        return QuantizerOptimizer(name=part.optimizer, learning_rate=rate, options=options)

    def default_config(self, arm: Arm, optimizer: str) -> TrialConfig:
        """Resolve the optimizer's documented defaults at the default batch size."""
        spec = optimizers.get_spec(optimizer)
        values: dict[str, float] = {
            "learning_rate": spec.default_learning_rate,
            "batch_size": self.space.batch_size.middle,
        }
        values |= mixed.default_positions(self.quantization, arm.scheme)
        if arm.step_optimizer == OWN_RATE:
            values[MULTIPLIER] = steps.DEFAULT_MULTIPLIER
        return self.config(arm, optimizer, values, seed=self.trial_seed(arm))

    def config(self, arm: Arm, optimizer: str, values: Mapping[str, float], *, seed: int) -> TrialConfig:
        """Resolve a configuration of the arm; `values` are learning rate, batch size and what else is searched.

        An optimizer that has a schedule of its own is trained with that, whatever the study's.
        """
        values = dict(values)
        learning_rate = values.pop("learning_rate", optimizers.get_spec(optimizer).default_learning_rate)
        batch_size = int(values.pop("batch_size"))
        multiplier, step_rate = values.pop(MULTIPLIER, 1.0), values.pop(STEP_RATE, None)
        scheme = arm.schemes[int(values.pop(BITS_INDEX, 0))]
        scheme = mixed.with_positions(self.quantization, scheme, values)
        return self._trial(
            optimizer,
            {**self.space.fixed.get(optimizer, {}), **values},
            arm.repeat,
            seed=seed,
            init_seed=self.init_seed(arm, seed),
            scheme=scheme,
            learning_rate=learning_rate,
            weight_decay_factor=self.quantization.weight_decay_factors.get(str(scheme.weight_bits), 1.0),
            quantizer_lr_multiplier=1.0 if scheme.is_float else multiplier,
            batch_size=batch_size,
            **_rate_over_time(self.training, optimizer),
            **self.training.memory,
            autocast=self.training.autocast,
            distillation=self.training.distillation,
            bn_reestimation_batches=self.training.bn_reestimation_batches,
            calibration_batches=1 if scheme.is_float else self.training.calibration_batches,
            freezing=None if scheme.is_float else self.training.freezing,
            dampening=None if scheme.is_float else self.training.dampening,
            quantizer_optimizer=None
            if scheme.is_float
            else self.quantizer_optimizer or steps.step_optimizer(arm.step_optimizer, step_rate),
        )

    def init_seed(self, arm: Arm, seed: int) -> int:
        """Give the seed of initial weights: as far from the repeat's as the trial's seed is from the repeat's."""
        drawn = self.drawn(arm.repeat)
        after = seed - drawn.trial_seed
        return drawn.init_seed + after if 0 <= after < SEEDS_APART else seed

    def recipes(self, arm: Arm) -> list[str]:
        """Hash the recipes that trials of the arm have."""
        points: dict[str, float] = {"learning_rate": 1.0, "batch_size": self.space.batch_size.middle}
        searched = STEP_RATE in steps.step_dimension(self.space, arm.step_optimizer)
        layers = mixed.searches(self.quantization, arm.scheme)
        return sorted(
            {
                self.config(arm, optimizer, {**points, BITS_INDEX: at}, seed=0).recipe_of(
                    step_rate_searched=searched, layers_searched=layers
                )
                for optimizer in arm.optimizers
                for at in range(len(arm.schemes))
            }
        )


def _rate_over_time(part: sections.ScheduledSection, optimizer: str, *, said: bool = False) -> dict[str, Any]:
    """Take the schedule of the section, or in its place the one that the optimizer has of its own.

    Where the schedule is `said` of this one optimizer, one that it does not take is a mistake, and is not replaced.
    """
    own = optimizers.schedule_of(optimizer, part.schedule)
    if said or own == part.schedule:
        return part.rate_over_time
    return {"epochs": part.epochs, "schedule": own, "warmup_epochs": part.warmup_epochs}
