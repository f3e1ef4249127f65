"""The table of optimizers. To add one: a line here, and a builder if torch's own will not do."""

import math
from collections.abc import Mapping
from typing import Any

from tune_qat.config import UsageError
from tune_qat.lookup import did_you_mean, find
from tune_qat.optimizers.base import OptimizerSpec, Range

_BELOW_ONE = ("beta1", "beta2", "alpha", "rho", "momentum")
"""Options that are the weight of the past in a moving average."""
_WIDE_SGD = Range(low=1e-4, high=1.0)
_SGD_SOURCE = "Robbins & Monro, 1951; torch.optim.SGD"

_SPECS = (
    OptimizerSpec(
        name="adam",
        summary="Adam, adaptive moments",
        build="tune_qat.optimizers.builders:adam",
        default_learning_rate=1e-3,
        learning_rate=Range(low=1e-5, high=1e-1),
        defaults={"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0},
        source="Kingma & Ba, ICLR 2015, arXiv 1412.6980; torch.optim.Adam",
    ),
    OptimizerSpec(
        name="adamw",
        summary="Adam with decoupled weight decay",
        build="tune_qat.optimizers.builders:adamw",
        default_learning_rate=1e-3,
        learning_rate=Range(low=1e-5, high=1e-1),
        defaults={"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.01},
        source="Loshchilov & Hutter, ICLR 2019, arXiv 1711.05101; torch.optim.AdamW",
    ),
    OptimizerSpec(
        name="rmsprop",
        summary="RMSProp, no momentum",
        build="tune_qat.optimizers.builders:rmsprop",
        default_learning_rate=1e-2,
        learning_rate=Range(low=1e-6, high=1e-2),
        defaults={"alpha": 0.99, "eps": 1e-8, "weight_decay": 0.0},
        source="Tieleman & Hinton, 2012, lecture 6.5; torch.optim.RMSprop",
    ),
    OptimizerSpec(
        name="adagrad",
        summary="AdaGrad",
        build="tune_qat.optimizers.builders:adagrad",
        default_learning_rate=1e-2,
        learning_rate=Range(low=1e-4, high=1.0),
        defaults={"eps": 1e-10, "weight_decay": 0.0},
        source="Duchi et al., JMLR 2011; torch.optim.Adagrad",
    ),
    OptimizerSpec(
        name="adadelta",
        summary="Adadelta",
        build="tune_qat.optimizers.builders:adadelta",
        default_learning_rate=1.0,
        learning_rate=Range(low=1e-3, high=1e1),
        defaults={"rho": 0.9, "eps": 1e-6, "weight_decay": 0.0},
        source="Zeiler, 2012, arXiv 1212.5701; torch.optim.Adadelta",
    ),
    OptimizerSpec(
        name="sgd",
        summary="SGD without momentum",
        build="tune_qat.optimizers.builders:sgd",
        default_learning_rate=1e-3,
        learning_rate=_WIDE_SGD,
        defaults={"weight_decay": 0.0},
        source=_SGD_SOURCE,
    ),
    OptimizerSpec(
        name="sgd_momentum",
        summary="SGD with heavy-ball momentum of 0.9, as the papers on quantization train",
        build="tune_qat.optimizers.builders:sgd_momentum",
        default_learning_rate=1e-3,
        learning_rate=_WIDE_SGD,
        defaults={"momentum": 0.9, "weight_decay": 0.0},
        source="Polyak, 1964; torch.optim.SGD(momentum=0.9)",
    ),
    OptimizerSpec(
        name="nesterov",
        summary="SGD with Nesterov momentum, searched around 0.9",
        build="tune_qat.optimizers.builders:nesterov",
        default_learning_rate=1e-3,
        learning_rate=_WIDE_SGD,
        defaults={"momentum": 0.9, "weight_decay": 0.0},
        searched={"momentum": Range(low=0.5, high=0.99, log=False)},
        source="Nesterov, 1983; Sutskever et al., ICML 2013; torch.optim.SGD(nesterov=True)",
    ),
    OptimizerSpec(
        name="lion",
        summary="Lion, sign of an interpolated momentum",
        build="tune_qat.optimizers.builders:lion",
        default_learning_rate=1e-4,
        learning_rate=Range(low=1e-7, high=1e-3),
        defaults={"beta1": 0.9, "beta2": 0.99, "weight_decay": 0.0},
        source="Chen et al., NeurIPS 2023, arXiv 2302.06675; timm.optim.Lion",
    ),
    OptimizerSpec(
        name="sgd_clip",
        summary="SGD, gradients clipped to a global norm (over all parameters, quantizers included)",
        build="tune_qat.optimizers.builders:sgd",
        default_learning_rate=1e-3,
        learning_rate=_WIDE_SGD,
        defaults={"weight_decay": 0.0, "max_norm": 1.0},
        searched={"max_norm": Range(low=0.1, high=10.0)},
        clip="tune_qat.optimizers.clipping:global_norm",
        clip_options=("max_norm",),
        source="Pascanu et al., ICML 2013, arXiv 1211.5063; torch.nn.utils.clip_grad_norm_",
    ),
    OptimizerSpec(
        name="sgd_agc",
        summary="SGD, adaptive gradient clipping (weights only, the last layer left out)",
        build="tune_qat.optimizers.builders:sgd",
        default_learning_rate=1e-3,
        learning_rate=_WIDE_SGD,
        defaults={"weight_decay": 0.0, "clip_factor": 0.01},
        searched={"clip_factor": Range(low=1e-3, high=1e-1)},
        clip="tune_qat.optimizers.clipping:adaptive",
        clip_options=("clip_factor",),
        source="Brock et al., ICML 2021, arXiv 2102.06171; timm.utils.agc",
    ),
)

OPTIMIZERS: dict[str, OptimizerSpec] = {spec.name: spec for spec in _SPECS}


def get_spec(name: str) -> OptimizerSpec:
    """The optimizer's line of the table; `UsageError` with the valid names where there is none."""
    return find(OPTIMIZERS, name, "optimizer")


def resolve_options(name: str, given: Mapping[str, Any]) -> dict[str, float]:
    """Every option of the optimizer, the given ones over the documented defaults.

    Raises `UsageError` for an option that the optimizer does not take, or a value outside its domain.
    """
    spec = get_spec(name)
    for option, value in given.items():
        if option not in spec.defaults:
            hint = did_you_mean(option, spec.defaults)
            raise UsageError(
                f"Optimizer {name!r} has no option {option!r}.{hint} It takes: {', '.join(spec.defaults)}."
            )
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value) or value < 0:
            raise UsageError(f"Option {option!r} of optimizer {name!r} must be a number >= 0, but got {value!r}.")
        if option in _BELOW_ONE and value >= 1:
            raise UsageError(f"Option {option!r} of optimizer {name!r} must be below 1, but got {value!r}.")
    return {**spec.defaults, **{option: float(value) for option, value in given.items()}}
