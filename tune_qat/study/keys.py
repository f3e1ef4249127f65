"""Keys of a study file, and all that follows from them alone: arms, repeats, seeds, ranges, stages and rungs."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Literal, Self

from pydantic import Field, PrivateAttr

from tune_qat import data
from tune_qat.config import SEEDS, Range, Scheme, stable_hash
from tune_qat.config.own_parts import own_parts
from tune_qat.config.statuses import (
    CALIBRATED,
    DEFAULT,
    FINALISTS,
    KEPT_STAGES,
    PRETRAIN,
    RANDOM,
    RETRAIN,
    SEARCH,
    SEARCHED_STAGES,
    STAGES,
)
from tune_qat.study import controls, method_sections, mixed, rungs, search_sections, sections, steps
from tune_qat.study.arms import OWN, Arm, arms_of, methods_of
from tune_qat.study.begun import Begun
from tune_qat.study.objectives import FRONT
from tune_qat.study.repeats import Repeat, repeat_of
from tune_qat.study.rules import FINALISTS_FROM
from tune_qat.study.sections import Count, Section
from tune_qat.study.space import BITS_INDEX, MULTIPLIER, Dimensions, dimensions, points


class StudyKeys(Section):
    """Sections of a study file; `Study` is one whose rules have been checked."""

    name: str
    """Name of the study in the record; that of the file where it is left out."""
    note: str | None = None
    """A note that a reader of the report should see first, such as what was cut."""
    mode: Literal["comparison", "joint"] = "comparison"
    """A search for each optimizer and pair of bits, or `joint`: one search over all optimizers."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the study, from which all others follow."""
    repeats: Annotated[int, Field(ge=1, le=1_000)] = 1
    """Times that the whole search is run."""
    repeat: sections.RepeatSection | None = None
    """Draws that each repeat makes anew."""
    max_failed_trials: Count = 10
    """Most trials that may end in an error; with one more the study ends."""
    data_dir: str | None = None
    """Folder of the data; `--data-dir` of the command line comes first."""
    workload: sections.WorkloadSection
    quantization: method_sections.QuantizationSection
    training: sections.TrainingSection
    pretrain: sections.PretrainSection | None = None
    """The floating-point model that all arms start from, with `training.init = "pretrain"`."""
    space: search_sections.SpaceSection
    stages: search_sections.StagesSection
    search: search_sections.SearchSection = search_sections.SearchSection()
    selection: search_sections.SelectionSection = search_sections.SelectionSection()
    asha: search_sections.AshaSection = search_sections.AshaSection()
    controls: list[search_sections.ControlSection] = []
    """Controls beside 32/32."""
    judgement: search_sections.JudgementSection
    logging: search_sections.LoggingSection = search_sections.LoggingSection()
    _begun: Begun = PrivateAttr(default=Begun())
    _sources: Mapping[str, str] = PrivateAttr(default_factory=dict)

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
        return rungs.rungs(self.first_rung, self.training, self.asha) if self.stops_early else ()

    @property
    def stops_early(self) -> bool:
        """Whether ASHA stops trials of the search: of several objectives it would compare one alone."""
        return self.asha.enabled and self.search.objectives is None

    @property
    def begun(self) -> Begun:
        """Settings that the study began with and keeps; none of them is in its file."""
        return self._begun

    def going_on(self, begun: Begun) -> Self:
        """Return the study as it goes on over its record, with what it keeps of its begin."""
        study = self.model_copy(update={"quantization": self.quantization.allocated_as(begun.mixed, begun.group_costs)})
        study._begun = begun
        return study

    @property
    def waits(self) -> bool:
        """Whether layers of mixed schemes have no bits yet: these are allocated once the first start is there."""
        return any(map(mixed.waits, self.schemes))

    @property
    def own_parts(self) -> dict[str, str]:
        """Paths of the parts that are code of the user's own, by kind: model, dataset or task."""
        return own_parts(self.workload.model, self.workload.dataset, getattr(self.workload, "task", ""))

    @property
    def sources(self) -> Mapping[str, str]:
        """Hash of the source of each own part in the keys of trials, by its top-level package; not in the file."""
        return self._sources

    def of_source(self, sources: Mapping[str, str]) -> Self:
        """Return the study with the source of its own parts, without which its trials have no key."""
        study = self.model_copy()
        study._sources = dict(sources)
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
        worsened = controls.control_arms(self.controls, self.quantization, names, self.repeat_numbers)
        return [*searched, *worsened]

    def dimensions(self, optimizer: str, scheme: Scheme | None = None, level: str = OWN) -> Dimensions:
        """Collect what is searched for one optimizer, by name: at 32/32 the quantizers' learning rate is nothing.

        `level` says who moves the quantizers' parameters.
        """
        bits = {BITS_INDEX: Range(low=0, high=len(self.quantization.bits) - 1, log=False)}
        found = dimensions(self.space, optimizer) | (bits if self.quantization.search_bits else {})
        found |= steps.step_dimension(self.space, level) | mixed.group_dimensions(self.quantization, scheme)
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
            RETRAIN: stages.retrain * self.most_chosen(arm),
        }

    def most_chosen(self, arm: Arm) -> int:
        """Count the configurations of an arm that are trained again at most.

        With several objectives these are points of a front, of which a scheme has one: it decides all costs.
        """
        return 1 if self.search.objectives is None else min(self.selection.front or FRONT, len(arm.schemes))

    @property
    def keep(self) -> str:
        """Trained models that stay; without retrain trials, in whose place the best of each arm is."""
        return (
            search_sections.BEST
            if not self.stages.retrain and self.stages.keep != search_sections.ALL
            else self.stages.keep
        )

    @property
    def kept_stages(self) -> tuple[str, ...]:
        """Stages whose completed trials write their last checkpoint; with `best` not all of them stay."""
        if self.keep == search_sections.ALL:
            return tuple(stage for stage in STAGES if stage != CALIBRATED)
        return KEPT_STAGES if self.stages.retrain else (PRETRAIN, *SEARCHED_STAGES, FINALISTS)

    def needs_model(self, stage: str) -> bool:
        """Tell whether a completed trial of the stage counts only with its model: of the best, one may be gone."""
        return stage == PRETRAIN or (stage in self.kept_stages and self.keep != search_sections.BEST)

    def trial_seed(self, arm: Arm) -> int:
        """Give the seed of data order and calibration of the arm's trials before `retrain`."""
        return self.drawn(arm.repeat).trial_seed

    def design_seed(self, arm: Arm) -> int:
        """Give the seed of the arm's random points and of its sampler: no two arms share a design.

        The study's name is in it only where it names repeats: one under another name takes over the same trials. An arm
        of a study that was begun before keeps the seed that it began with.
        """
        if arm.arm_id in self._begun.design_seeds:
            return self._begun.design_seeds[arm.arm_id]
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
