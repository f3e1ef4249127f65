"""The table of optimizers. To add one: a line here, and a builder if torch's own will not do.

Ranges of learning rates beyond the benchmark's ten are a matter of judgement: the question `edge_of_range` says when to
widen one.
"""

from collections.abc import Mapping
from typing import Any

from tune_qat.config import Range, TrialConfig, UsageError, is_number
from tune_qat.config.lookup import Table, check_options, wrong_option
from tune_qat.optimizers.base import OptimizerSpec
from tune_qat.optimizers.benchmark_ten import BENCHMARK_TEN

_ADAM_LIKE = Range(low=1e-4, high=1e-2)

_BEYOND_THE_TEN = (
    OptimizerSpec(
        name="sgd_momentum",
        summary="SGD with heavy-ball momentum of 0.9, as the papers on quantization train",
        build="tune_qat.optimizers.builders:sgd_momentum",
        default_learning_rate=1e-3,
        learning_rate=Range(low=1e-4, high=1.0),
        defaults={"momentum": 0.9, "weight_decay": 0.0},
        source="Polyak, 1964; torch.optim.SGD(momentum=0.9)",
    ),
    OptimizerSpec(
        name="nadam",
        summary="Adam with Nesterov momentum; L2 weight decay",
        build="tune_qat.optimizers.builders:nadam",
        default_learning_rate=2e-3,
        learning_rate=_ADAM_LIKE,
        defaults={"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "momentum_decay": 4e-3, "weight_decay": 0.0},
        source="Dozat, ICLR workshop 2016; torch.optim.NAdam",
    ),
    OptimizerSpec(
        name="radam",
        summary="Adam, rectified while its second moment is uncertain; L2 weight decay",
        build="tune_qat.optimizers.builders:radam",
        default_learning_rate=1e-3,
        learning_rate=_ADAM_LIKE,
        defaults={"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0},
        source="Liu et al., ICLR 2020, arXiv 1908.03265; torch.optim.RAdam",
    ),
    OptimizerSpec(
        name="lamb",
        summary="LAMB, Adam at a rate relative to each tensor's norm; weight decay inside the ratio, as in the paper",
        build="tune_qat.optimizers.lamb:lamb",
        default_learning_rate=1e-3,
        learning_rate=_ADAM_LIKE,
        defaults={"beta1": 0.9, "beta2": 0.999, "eps": 1e-6, "weight_decay": 0.0},
        source="You et al., ICLR 2020, arXiv 1904.00962, algorithm 2",
    ),
    OptimizerSpec(
        name="adan",
        summary="Adan, momentum of gradients and of their differences; decoupled (proximal) weight decay",
        build="tune_qat.optimizers.further:adan",
        default_learning_rate=1e-3,
        learning_rate=_ADAM_LIKE,
        defaults={"beta1": 0.98, "beta2": 0.92, "beta3": 0.99, "eps": 1e-8, "weight_decay": 0.0},
        source="Xie et al., 2022, arXiv 2208.06677; pytorch_optimizer.Adan",
    ),
    OptimizerSpec(
        name="ademamix",
        summary="AdEMAMix, Adam with a second, slow momentum (alpha, beta3 constant); decoupled weight decay",
        build="tune_qat.optimizers.further:ademamix",
        default_learning_rate=1e-3,
        learning_rate=_ADAM_LIKE,
        defaults={"beta1": 0.9, "beta2": 0.999, "beta3": 0.9999, "alpha": 5.0, "eps": 1e-8, "weight_decay": 0.0},
        below_one=("beta1", "beta2", "beta3"),
        source="Pagliardini et al., ICLR 2025, arXiv 2409.03137; pytorch_optimizer.AdEMAMix",
    ),
    OptimizerSpec(
        name="adopt",
        summary="ADOPT, Adam that normalises by the steps before; L2 weight decay",
        build="tune_qat.optimizers.further:adopt",
        default_learning_rate=1e-3,
        learning_rate=_ADAM_LIKE,
        defaults={"beta1": 0.9, "beta2": 0.9999, "eps": 1e-6, "weight_decay": 0.0},
        source="Taniguchi et al., NeurIPS 2024, arXiv 2411.02853; pytorch_optimizer.ADOPT",
    ),
    OptimizerSpec(
        name="mars",
        summary="MARS-AdamW, variance-reduced gradients (weights; else AdamW at 0.9, 0.95); decoupled weight decay",
        build="tune_qat.optimizers.mars:mars",
        default_learning_rate=3e-3,
        learning_rate=_ADAM_LIKE,
        defaults={"beta1": 0.95, "beta2": 0.99, "gamma": 0.025, "eps": 1e-8, "weight_decay": 0.0},
        matrices="weights",
        moves_steps="adamw with betas 0.9 and 0.95",
        source="Yuan et al., ICML 2025, arXiv 2411.10438, algorithm 2",
    ),
    OptimizerSpec(
        name="soap",
        summary="SOAP, Adam in the eigenbasis of Shampoo (weights, sides to 10,000; else Adam); decoupled weight decay",
        build="tune_qat.optimizers.further:soap",
        default_learning_rate=3e-3,
        learning_rate=_ADAM_LIKE,
        defaults={"beta1": 0.95, "beta2": 0.95, "eps": 1e-8, "weight_decay": 0.01},
        matrices="weights",
        moves_steps="adam with betas 0.95",
        source="Vyas et al., ICLR 2025, arXiv 2409.11321; pytorch_optimizer.SOAP",
    ),
    OptimizerSpec(
        name="muon",
        summary="Muon, orthogonal updates (hidden weights; else AdamW at 0.015 of the rate); decoupled weight decay",
        build="tune_qat.optimizers.further:muon",
        default_learning_rate=0.02,
        learning_rate=Range(low=1e-3, high=1e-1),
        defaults={"momentum": 0.95, "beta1": 0.9, "beta2": 0.95, "adamw_lr_ratio": 0.015, "weight_decay": 0.0},
        matrices="hidden_weights",
        moves_steps="adamw at adamw_lr_ratio of the rate",
        source="Jordan et al., 2024, github.com/KellerJordan/Muon (0.02 beside 3e-4 for AdamW); timm.optim.muon",
    ),
    OptimizerSpec(
        name="prodigy",
        summary="Prodigy, Adam that finds its own rate (d_coef searched in its place); decoupled weight decay",
        build="tune_qat.optimizers.further:prodigy",
        default_learning_rate=1.0,
        learning_rate=None,
        defaults={"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "d_coef": 1.0, "weight_decay": 0.0},
        searched={"d_coef": Range(low=0.1, high=10.0)},
        positive=("eps", "d_coef"),
        one_rate=True,
        source="Mishchenko & Defazio, ICML 2024, arXiv 2306.06101; prodigyopt",
    ),
    OptimizerSpec(
        name="schedule_free_sgd",
        summary="Schedule-Free SGD, an average in place of a schedule; L2 weight decay",
        build="tune_qat.optimizers.further:schedule_free_sgd",
        default_learning_rate=1.0,
        learning_rate=Range(low=0.1, high=10.0),
        defaults={"momentum": 0.9, "weight_decay": 0.0},
        positive=("momentum",),
        schedule="constant",
        source="Defazio et al., NeurIPS 2024, arXiv 2405.15682; schedulefree",
    ),
    OptimizerSpec(
        name="schedule_free_adamw",
        summary="Schedule-Free AdamW, an average in place of a schedule; decoupled weight decay",
        build="tune_qat.optimizers.further:schedule_free_adamw",
        default_learning_rate=2.5e-3,
        learning_rate=_ADAM_LIKE,
        defaults={"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0},
        positive=("beta1",),
        schedule="constant",
        source="Defazio et al., NeurIPS 2024, arXiv 2405.15682; schedulefree",
    ),
)

OPTIMIZERS = Table("optimizer", (*BENCHMARK_TEN, *_BEYOND_THE_TEN))
get_spec = OPTIMIZERS.get_spec


def resolve_options(name: str, given: Mapping[str, Any]) -> dict[str, float]:
    """Resolve every option of the optimizer, the given ones over the documented defaults.

    Raises `UsageError` for an option that the optimizer does not take, or a value outside its domain.
    """
    spec = get_spec(name)
    check_options("optimizer", name, given, spec.defaults)
    for option, value in given.items():
        if not is_number(value) or value < 0:
            raise wrong_option("optimizer", name, option, "a number >= 0", value)
        if option in spec.below_one and value >= 1:
            raise wrong_option("optimizer", name, option, "below 1", value)
        if option in spec.positive and value == 0:
            raise wrong_option("optimizer", name, option, "above 0", value)
    return {**spec.defaults, **{option: float(value) for option, value in given.items()}}


def schedule_of(name: str, otherwise: str) -> str:
    """Return the schedule that the optimizer is trained with: its own if it has one, else `otherwise`."""
    return get_spec(name).schedule or otherwise


def check(config: TrialConfig) -> None:
    """Raise `UsageError` for optimizers of a trial that do not work together, or not with its schedule."""
    _check_schedule(config.optimizer, config.schedule)
    if get_spec(config.optimizer).one_rate and config.quantizer_lr_multiplier != 1:
        raise UsageError(one_rate_only(config.optimizer))
    separate = config.quantizer_optimizer
    if separate is None:
        return
    _check_schedule(separate.name, config.schedule)
    resolve_options(separate.name, separate.options)
    spec = get_spec(separate.name)
    if spec.matrices or spec.clip:
        why = "treats weights as matrices, of which quantizers have none" if spec.matrices else "clips all gradients"
        raise UsageError(f"quantizer_optimizer cannot be {separate.name!r}, which {why}. Choose a plain one.")


def one_rate_only(name: str) -> str:
    """Return the error message for a learning rate of the quantizers' own, with an optimizer that allows none."""
    return (
        f"Optimizer {name!r} estimates one rate for all parameters, so quantizer_lr_multiplier must be 1. "
        "For quantizers at another rate give them a quantizer_optimizer."
    )


def _check_schedule(name: str, schedule: str) -> None:
    own = get_spec(name).schedule
    if own not in (None, schedule):
        raise UsageError(
            f"schedule must be {own!r} with optimizer {name!r}, which averages in place of a schedule, but got "
            f"{schedule!r}. Warm-up (warmup_epochs) stays possible."
        )
