"""Lines of the table of optimizers. Free of torch, so that a study file is checked without it."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from tune_qat.config import Range


@dataclass(frozen=True, kw_only=True, slots=True)
class OptimizerSpec:
    """One optimizer: how it is built, its documented defaults, what is searched, and where it comes from.

    `defaults` names every option that the optimizer takes with its documented value; an option outside it is an
    error. `searched` holds the ranges of the options that a study searches beside learning rate and batch size.
    """

    name: str
    summary: str
    build: str
    """`package.module:function`, called as `function(groups, learning_rate, **options)` with torch parameter groups."""
    default_learning_rate: float
    learning_rate: Range | None
    """Searched range; None where the optimizer finds its own rate, and the learning rate stays at its default."""
    defaults: Mapping[str, float] = field(default_factory=dict)
    searched: Mapping[str, Range] = field(default_factory=dict)
    clip: str | None = None
    """`package.module:function` run between backward and step, called as `function(parameters, weights, **options)`
    with all parameters and with the weights but the last layer's; returns 1.0 where it changed a gradient, else 0.0."""
    clip_options: tuple[str, ...] = ()
    """Options that `clip` takes; the others of `defaults` go to `build`, `weight_decay` to the group of the weights."""
    below_one: tuple[str, ...] = ("beta1", "beta2", "beta3", "alpha", "rho", "momentum")
    """Options that are the weight of the past in a moving average."""
    positive: tuple[str, ...] = ()
    """Options that must be above 0."""
    schedule: str | None = None
    """The only schedule that it is trained with; None: any."""
    one_rate: bool = False
    """Whether all groups must have one learning rate."""
    matrices: str | None = None
    """Which parameters it treats as matrices, an attribute of `ParameterGroups`. `build` is told by `matrices` in each
    group: True for these, False for the others, quantizers' among them. None: it treats all alike, and is told nothing.
    """
    source: str
