"""A study: what one file of `search_spaces/` says, validated, with its arms and the trials they plan."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal

from pydantic import Field, PrivateAttr, model_validator

from tune_qat import data, optimizers
from tune_qat.config import SEEDS, QuantizerOptimizer, Range, Scheme, TrialConfig, stable_hash
from tune_qat.config.statuses import DEFAULT, FINALISTS, RANDOM, RETRAIN, SEARCH
from tune_qat.study import controls, rules, rungs, sections, steps
from tune_qat.study.arms import OWN, OWN_RATE, Arm, arms_of, methods_of
from tune_qat.study.begun import Begun
from tune_qat.study.file import load_study
from tune_qat.study.mistakes import reported_at
from tune_qat.study.repeats import Repeat, check_repeats, repeat_of
from tune_qat.study.rules import FINALISTS_FROM
from tune_qat.study.sections import Count, Section
from tune_qat.study.space import BITS_INDEX, MULTIPLIER, STEP_RATE, Dimensions, check_space, dimensions, points


class Study(Section):
    """One study file, validated. `Study.load(name_or_path)` reads one."""

    name: str
    note: str | None = None
    """A note that a reader of the report should see first, such as what was cut."""
    mode: Literal["comparison", "joint"] = "comparison"
    seed: Annotated[int, Field(ge=0)] = 0
    repeats: Annotated[int, Field(ge=1, le=1_000)] = 1
    repeat: sections.RepeatSection | None = None
    max_failed_trials: Count = 10
    data_dir: str | None = None
    workload: sections.WorkloadSection
    quantization: sections.QuantizationSection
    training: sections.TrainingSection
    pretrain: sections.PretrainSection | None = None
    space: sections.SpaceSection
    stages: sections.StagesSection
    search: sections.SearchSection = sections.SearchSection()
    selection: sections.SelectionSection = sections.SelectionSection()
    asha: sections.AshaSection = sections.AshaSection()
    controls: list[sections.ControlSection] = []
    judgement: sections.JudgementSection
    _begun: Begun = PrivateAttr(default=Begun())

    @classmethod
    def load(cls, space: str, overrides: Mapping[str, Any] | None = None) -> "Study":
        """Read a bundled study or a TOML file, with `overrides` by dotted key; `UsageError` names what is wrong."""
        return load_study(cls, space, overrides or {})

    @model_validator(mode="after")
    def _is_sound(self) -> "Study":
        """Name the first rule that is broken: from what is said first to what follows from it."""
        rules.check_name(self.name)
        rules.check_workload(self.workload, self.judgement, self.training)
        rules.check_quantizers(self.quantization, self.training)
        rules.check_searched_bits(self.mode, self.quantization)
        check_space(self.space)
        rules.check_reference(self.judgement, self.space, self.mode)
        rules.check_start(self.training, self.pretrain)
        spec, options = data.get_spec(self.workload.dataset), self.workload.options
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
        controls.check_controls(self.controls, self.quantization, self.training, self.judgement, self.mode)
        with reported_at("training.quantizer_optimizer"):
            self.quantizer_optimizer  # noqa: B018  it checks itself
        if self.selection.finalists:
            planned = {arm.arm_id: self.planned(arm) for arm in self.arms()}
            rules.check_selection(self.selection, self.stages, planned)
        for arm in self.arms():
            for optimizer in arm.optimizers:
                rules.check_trial("training", partial(self.default_config, arm, optimizer))
        return self

    @property
    def whole(self) -> str:
        """Name of the whole study that the repeats belong to."""
        return (self.repeat and self.repeat.study) or self.name

    @property
    def repeat_numbers(self) -> range:
        """Numbers of the repeats in the whole study, from 0."""
        first = self.repeat.first - 1 if self.repeat else 0
        return range(first, first + self.repeats)

    def drawn(self, repeat: int) -> Repeat:
        """Draw what a repeat varies."""
        varies = self.repeat.varies if self.repeat else None
        return repeat_of(repeat, seed=self.seed, whole=self.whole, varies=varies, starts=self._starts)

    @property
    def _starts(self) -> Sequence[sections.StartSection]:
        return self.pretrain.starts if self.pretrain else ()

    def data_options(self, repeat: int) -> dict[str, Any]:
        """Resolve every option of the dataset for a repeat."""
        given = {**self.workload.options, **self.drawn(repeat).data_options}
        return data.resolve_options(data.get_spec(self.workload.dataset), given)

    @property
    def schemes(self) -> tuple[Scheme, ...]:
        """Schemes of all methods, in the order of the file."""
        return tuple(methods_of(self.quantization))

    @property
    def first_rung(self) -> int:
        """The epoch at which ASHA first looks at a trial."""
        return self.asha.grace_epochs or self._begun.first_rung or rungs.default_first_rung(self.training)

    @property
    def rungs(self) -> tuple[int, ...]:
        """Epochs at which ASHA may stop a trial."""
        return rungs.rungs(self.first_rung, self.training, self.asha)

    @property
    def begun(self) -> Begun:
        """Settings that the study began with and keeps; none of them is in its file."""
        return self._begun

    def going_on(self, begun: Begun) -> "Study":
        """Return the study as it goes on over its record, with what it keeps of its begin."""
        study = self.model_copy()
        study._begun = begun
        return study

    @property
    def batches_of_one(self) -> list[str]:
        """Keys with which a training batch has a single sample."""
        sizes = {"space.batch_size.low": self.space.batch_size.low}
        if self.training.init == "pretrain" and self.pretrain is not None:
            sizes["pretrain.batch_size"] = self.pretrain.batch_size
        return [key for key, size in sizes.items() if size == 1]

    @property
    def prereg_hash(self) -> str:
        """Hash of what is judged: metric, margin, alpha, the reference where there is one, and the retrain seeds."""
        seeds = sorted({seed for arm in self.arms() for seed in self.retrain_seeds(arm)})
        return stable_hash({**self.judgement.model_dump(exclude_none=True), "seeds": seeds})

    def arms(self) -> list[Arm]:
        """Make every arm in the order of the file: by bits, then by optimizer, by who moves quantizers, by repeat.

        Worsened controls come last.
        """
        joint, levels = self.mode == "joint", partial(steps.levels_of, self.space)
        names = self.space.optimizers
        searched = arms_of(self.quantization, names, joint=joint, repeats=self.repeat_numbers, levels=levels)
        worsened = controls.schemes_of(self.controls, self.quantization)
        return [*searched, *controls.control_arms(worsened, names, self.repeat_numbers)]

    def dimensions(self, optimizer: str, scheme: Scheme | None = None, level: str = OWN) -> Dimensions:
        """Collect what is searched for one optimizer, by name: at 32/32 the quantizers' learning rate is nothing.

        `level` says who moves the quantizers' parameters.
        """
        bits = {BITS_INDEX: Range(low=0, high=len(self.quantization.bits) - 1, log=False)}
        found = dimensions(self.space, optimizer) | (bits if self.quantization.search_bits else {})
        found |= steps.step_dimension(self.space, level)
        if scheme is not None and scheme.is_float:
            found.pop(MULTIPLIER, None)
        return found

    def points(self, arm: Arm) -> list[tuple[str, dict[str, float]]] | None:
        """Return each point of the arm's search space, as optimizer and values; None if there is no end of them."""
        found = []
        for optimizer in arm.optimizers:
            own = points(self.dimensions(optimizer, arm.scheme, arm.step_optimizer))
            if own is None:
                return None
            found += [(optimizer, values) for values in own]
        return found

    def planned(self, arm: Arm) -> dict[str, int]:
        """Count the trials of each stage: the same for every arm, but no more than the points of its search space."""
        stages, whole = self.stages, self.points(arm)
        most = stages.random + stages.search if whole is None else len(whole)
        return {
            DEFAULT: len(arm.optimizers) if stages.default else 0,
            RANDOM: min(stages.random, most),
            SEARCH: min(stages.search, most),
            FINALISTS: self.selection.finalists * self.selection.seeds,
            RETRAIN: stages.retrain,
        }

    def trial_seed(self, arm: Arm) -> int:
        """Give the seed of data order and calibration of the arm's trials before `retrain`."""
        return self.drawn(arm.repeat).trial_seed

    def design_seed(self, arm: Arm) -> int:
        """Give the seed of the arm's random points and of its sampler: no two arms share a design.

        The study's name is in it only where it names repeats: one under another name takes over the same trials.
        """
        varies = self.repeat is None or "design" in self.repeat.varies
        board = [self.workload.model, self.workload.dataset, self.training.init]
        whole = self.whole if self.repeat else ""
        parts = [whole, self.seed, *board, arm.name, arm.repeat if varies else 0]
        return int(stable_hash(parts), 16) % SEEDS

    def retrain_seeds(self, arm: Arm) -> range:
        """Give fresh seeds, the same in every arm, so that differences between arms are paired."""
        first = self.trial_seed(arm) + 1
        return range(first, first + self.stages.retrain)

    def finalist_seeds(self, arm: Arm) -> range:
        """Give the seeds that finalists are trained again with, the same in every arm and used by no other stage."""
        first = self.trial_seed(arm) + FINALISTS_FROM
        return range(first, first + self.selection.seeds)

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
        )

    def _trial(self, optimizer: str, options: Mapping[str, float], repeat: int, **others: Any) -> TrialConfig:
        """Resolve a trial on the study's workload in a repeat, its options over those of the tables."""
        return TrialConfig(
            model=self.workload.model,
            dataset=self.workload.dataset,
            dataset_options=self.data_options(repeat),
            optimizer=optimizer,
            optimizer_options=optimizers.resolve_options(optimizer, options),
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
        return self._trial(
            optimizer,
            {**self.space.fixed.get(optimizer, {}), **values},
            arm.repeat,
            seed=seed,
            init_seed=self._init_seed(arm, seed),
            scheme=scheme,
            learning_rate=learning_rate,
            weight_decay_factor=self.quantization.weight_decay_factors.get(str(scheme.weight_bits), 1.0),
            quantizer_lr_multiplier=1.0 if scheme.is_float else multiplier,
            batch_size=batch_size,
            **_rate_over_time(self.training, optimizer),
            distillation=self.training.distillation,
            bn_reestimation_batches=self.training.bn_reestimation_batches,
            freezing=None if scheme.is_float else self.training.freezing,
            dampening=None if scheme.is_float else self.training.dampening,
            quantizer_optimizer=None
            if scheme.is_float
            else self.quantizer_optimizer or steps.step_optimizer(arm.step_optimizer, step_rate),
        )

    def _init_seed(self, arm: Arm, seed: int) -> int:
        """Give the seed of initial weights: the repeat's, and its own to a trial with a fresh seed."""
        drawn = self.drawn(arm.repeat)
        return drawn.init_seed if seed == drawn.trial_seed else seed

    def recipes(self, arm: Arm) -> list[str]:
        """Hash the recipes that trials of the arm have."""
        points: dict[str, float] = {"learning_rate": 1.0, "batch_size": self.space.batch_size.middle}
        searched = STEP_RATE in steps.step_dimension(self.space, arm.step_optimizer)
        return sorted(
            {
                self.config(arm, optimizer, {**points, BITS_INDEX: at}, seed=0).recipe_of(step_rate_searched=searched)
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
