"""Rules over several sections of a study file; the first that is broken is named."""

from typing import TYPE_CHECKING

from tune_qat import data, models, optimizers, quantizers
from tune_qat.config import FLOAT_BITS, PLAIN_NAME, SEEDS
from tune_qat.data.base import CLASSIFICATION
from tune_qat.study.sections import at, broken
from tune_qat.study.space import check_space

if TYPE_CHECKING:
    from tune_qat.study import Study

SEEDS_APART = 10_000
"""Distance between the seeds of two repeats: no repeat has that many retrain seeds."""


def check_study(study: "Study") -> None:
    """An error with the key of the first rule that is broken."""
    if not PLAIN_NAME.fullmatch(study.name):
        raise broken(
            "name",
            "must be a plain file name: letters, digits, '.', '_' and '-', the first a letter, digit or '_', at "
            f"most 100 of them (where it is left out, it is the file's own name), but got {study.name!r}",
        )
    _check_workload(study)
    check_space(study.space)
    _check_plan(study)


def _check_workload(study: "Study") -> None:
    with at("workload.dataset"):
        spec = data.get_spec(study.workload.dataset)
    with at("workload.model"):
        models.check_fits_task(study.workload.model, spec)
    with at("workload.options"):
        data.resolve_options(spec, study.workload.options)
    if study.judgement.metric != spec.metric:
        rule = f"must be {spec.metric!r}, the metric of dataset {spec.name!r}, but got {study.judgement.metric!r}"
        raise broken("judgement.metric", rule)
    if study.training.distillation is not None and spec.task != CLASSIFICATION:
        rule = f"is defined for classification, but dataset {spec.name!r} is for {spec.task.replace('_', '-')}"
        raise broken("training.distillation", rule)
    with at("quantization.quantizer"):
        quantizers.get_spec(study.quantization.quantizer)
    with at("quantization"):
        study.schemes  # noqa: B018  it checks itself
    with at("training"):
        for scheme in study.schemes:
            part = study.training
            quantizers.check_recipe(scheme, freezing=bool(part.freezing), dampening=bool(part.dampening))
    if study.quantization.search_bits:
        _check_searched_bits(study)


def _check_searched_bits(study: "Study") -> None:
    key, bits = "quantization.search_bits", study.quantization.bits
    if study.mode != "joint":
        raise broken(key, 'is for mode = "joint"; in comparison mode each pair of bits is an arm of its own')
    if study.quantization.methods:
        raise broken(key, "searches the bits of one method, but quantization.methods has others")
    if len(bits) < 2 or [FLOAT_BITS, FLOAT_BITS] in bits:
        raise broken(key, f"needs at least two pairs of bits and no [32, 32], but bits is {bits}")


def _check_plan(study: "Study") -> None:
    """What is trained from where, for how long, and with which seeds."""
    if study.training.init == "pretrain" and study.pretrain is None:
        raise broken("training.init", 'is "pretrain", which needs a [pretrain] section')
    if study.pretrain is not None:
        with at("pretrain"):
            optimizers.check(study.pretrain_config())
    epochs, stages = study.training.epochs, study.stages
    if study.grace_epochs > epochs:
        raise broken("asha.grace_epochs", f"must be at most training.epochs ({epochs}), but got {study.grace_epochs}")
    if not (stages.default or stages.random or stages.search):
        raise broken("stages", "must plan default, random or search trials; there would be nothing to train")
    if stages.retrain >= SEEDS_APART:
        raise broken("stages.retrain", f"must be below {SEEDS_APART}, but got {stages.retrain}")
    largest = SEEDS - study.repeats * SEEDS_APART
    if study.seed > largest:
        raise broken("seed", f"must be at most {largest} with repeats = {study.repeats}, but got {study.seed}")
    _check_quantizer_optimizer(study)
    with at("training"):
        for arm in study.arms():
            for optimizer in arm.optimizers:
                optimizers.check(study.default_config(arm, optimizer))


def _check_quantizer_optimizer(study: "Study") -> None:
    if study.training.quantizer_optimizer is None:
        return
    if study.space.quantizer_lr_multiplier is not None:
        rule = "is not searched with training.quantizer_optimizer, which has a learning rate of its own"
        raise broken("space.quantizer_lr_multiplier", rule)
    with at("training.quantizer_optimizer"):
        study.quantizer_optimizer  # noqa: B018  it checks itself
