"""Rules over several sections of a study file, each told of the sections and values it looks at."""

from collections.abc import Callable, Mapping

from tune_qat import data, models, optimizers, quantizers
from tune_qat.config import FLOAT_BITS, PLAIN_NAME, SEEDS, TrialConfig
from tune_qat.config.memory import check_micro_batch
from tune_qat.config.shown import shown
from tune_qat.config.statuses import SEARCHED_STAGES
from tune_qat.data.spec import CLASSIFICATION
from tune_qat.study import method_sections, search_sections, sections
from tune_qat.study.arms import methods_of
from tune_qat.study.mistakes import reported_at, rule_error
from tune_qat.study.mixed import check_mixed
from tune_qat.study.repeats import SEEDS_APART

FINALISTS_FROM = SEEDS_APART // 2
"""Distance from a repeat's first seed to those of its finalists: with finalists, fewer retrain seeds than that."""


def check_name(name: str) -> None:
    """Check the name, which becomes a folder."""
    if not PLAIN_NAME.fullmatch(name):
        raise rule_error(
            "name",
            "must be a plain file name: letters, digits, '.', '_' and '-', the first a letter, digit or '_', at "
            f"most 100 of them (where it is left out, it is the file's own name), but got {shown(name)}",
        )


def check_workload(
    workload: sections.WorkloadSection, judgement: search_sections.JudgementSection, training: sections.TrainingSection
) -> None:
    """Check the dataset and its options, a model that fits it, and what depends on its task."""
    with reported_at("workload.dataset"):
        data.get_spec(workload.dataset)
    with reported_at("workload.task"):
        spec = data.get_spec(workload.dataset, workload.task)
    with reported_at("workload.model"):
        models.check_fits_task(workload.model, spec)
    with reported_at("workload.model_options"):
        models.check_options(workload.model, workload.model_options)
    with reported_at("workload.options"):
        data.resolve_options(spec, workload.options)
    if spec.metric and judgement.metric != spec.metric:
        of = f"task {spec.task!r}" if spec.any_task else f"dataset {spec.name!r}"
        rule = f"must be {spec.metric!r}, the metric of {of}, but got {shown(judgement.metric)}"
        raise rule_error("judgement.metric", rule)
    if training.distillation is not None and spec.task != CLASSIFICATION:
        rule = f"is defined for classification, but dataset {spec.name!r} is for {spec.task.replace('_', '-')}"
        raise rule_error("training.distillation", rule)
    if training.label_smoothing and spec.task != CLASSIFICATION:
        rule = f"is defined for classification, but dataset {spec.name!r} is for {spec.task.replace('_', '-')}"
        raise rule_error("training.label_smoothing", rule)


def check_reference(
    judgement: search_sections.JudgementSection, space: search_sections.SpaceSection, mode: str
) -> None:
    """Check that the optimizer which all others are compared with is one of the study, and that they are compared."""
    name, key = judgement.reference, "judgement.reference"
    if name is None:
        return
    if mode == "joint":
        raise rule_error(key, 'is for mode = "comparison"; a joint search compares no optimizers')
    if name not in space.optimizers:
        rule = f"must be one of space.optimizers ({', '.join(space.optimizers)}), but got {shown(name)}"
        raise rule_error(key, rule)


def check_quantizers(
    part: method_sections.QuantizationSection, training: sections.TrainingSection, mode: str = "comparison"
) -> None:
    """Check the methods at their bits, and the recipes on them."""
    with reported_at("quantization.quantizer"):
        quantizers.get_spec(part.quantizer)
    check_mixed(part, mode)
    if part.mixed and part.mixed.by != "search" and training.init == "scratch":
        rule = 'needs a start, training.init = "pretrain", "weights" or "path": random weights have no sensitive layers'
        raise rule_error("quantization.mixed", rule)
    with reported_at("quantization"):
        schemes = methods_of(part)
    with reported_at("training"):
        for scheme in schemes:
            quantizers.check_recipe(scheme, freezing=bool(training.freezing), dampening=bool(training.dampening))


def check_searched_bits(mode: str, part: method_sections.QuantizationSection) -> None:
    """Check what `search_bits` needs, where it is used."""
    if not part.search_bits:
        return
    key = "quantization.search_bits"
    if mode != "joint":
        raise rule_error(key, 'is for mode = "joint"; in comparison mode each pair of bits is an arm of its own')
    if part.methods:
        raise rule_error(key, "searches the bits of one method, but quantization.methods has others")
    if len(part.bits) < 2 or [FLOAT_BITS, FLOAT_BITS] in part.bits:
        raise rule_error(key, f"needs at least two pairs of bits and no [32, 32], but bits is {part.bits}")


def check_start(training: sections.TrainingSection, pretrain: sections.PretrainSection | None) -> None:
    """Check that a start which is to be trained is described."""
    if training.init == "pretrain" and pretrain is None:
        direct = '; to start arms from the weights themselves, say init = "weights"' if training.weights else ""
        raise rule_error("training.init", f'is "pretrain", which needs a [pretrain] section{direct}')


def check_micro_batches(
    training: sections.TrainingSection,
    space: search_sections.SpaceSection,
    pretrain: sections.PretrainSection | None,
) -> None:
    """Refuse a batch size of the search, or of the start, that does not fall into micro-batches."""
    low, high = space.batch_size.low, space.batch_size.high
    sizes = [low << doublings for doublings in range((high // low).bit_length())]
    with reported_at("training.micro_batch"):
        check_micro_batch(training.micro_batch, sizes, "a batch size of space.batch_size")
        if pretrain is not None and training.init == "pretrain":
            check_micro_batch(training.micro_batch, [pretrain.batch_size], "pretrain.batch_size")


def check_stages(stages: search_sections.StagesSection, training: sections.TrainingSection, first_rung: int) -> None:
    """Check what is trained, and for how long."""
    if first_rung > training.epochs:
        rule = f"must be at most training.epochs ({training.epochs}), but got {first_rung}"
        raise rule_error("asha.grace_epochs", rule)
    if not (stages.default or stages.random or stages.search):
        raise rule_error("stages", "must plan default, random or search trials; there would be nothing to train")
    if stages.calibrated and training.init == "scratch":
        rule = 'needs a start, training.init = "pretrain", "weights" or "path": calibrated random weights say nothing'
        raise rule_error("stages.calibrated", rule)
    if stages.calibrated and not stages.retrain:
        raise rule_error("stages.calibrated", "evaluates the seeds of retrain trials, but stages.retrain is 0")
    if stages.retrain >= SEEDS_APART:
        raise rule_error("stages.retrain", f"must be below {SEEDS_APART}, but got {stages.retrain}")


def check_selection(
    selection: search_sections.SelectionSection,
    stages: search_sections.StagesSection,
    planned: Mapping[str, Mapping[str, int]],
) -> None:
    """Check that each arm, by its `planned` trials of each stage, has the finalists, and that no seed is used twice."""
    for arm_id, trials in planned.items():
        searched = sum(trials[stage] for stage in SEARCHED_STAGES)
        if selection.finalists > searched:
            rule = f"must be at most the default, random and search trials of an arm ({searched} in {arm_id})"
            raise rule_error("selection.finalists", f"{rule}, but got {selection.finalists}")
    for key, count in (("selection.seeds", selection.seeds), ("stages.retrain", stages.retrain)):
        if count >= FINALISTS_FROM:
            raise rule_error(key, f"must be below {FINALISTS_FROM} where there are finalists, but got {count}")


def check_seed(seed: int, repeats: int) -> None:
    """Check that the seeds of the last repeat exist."""
    largest = SEEDS - repeats * SEEDS_APART
    if seed > largest:
        raise rule_error("seed", f"must be at most {largest} with repeats = {repeats}, but got {shown(seed)}")


def check_quantizer_optimizer(space: search_sections.SpaceSection, training: sections.TrainingSection) -> None:
    """Check that the learning rate of quantizers' parameters is said in one place."""
    if training.quantizer_optimizer is not None and space.quantizer_lr_multiplier is not None:
        rule = "is not searched with training.quantizer_optimizer, which has a learning rate of its own"
        raise rule_error("space.quantizer_lr_multiplier", rule)


def check_trial(key: str, config_of: Callable[[], TrialConfig]) -> None:
    """Check a trial that the section under `key` makes, by the rules of its optimizer."""
    with reported_at(key):
        optimizers.check(config_of())
