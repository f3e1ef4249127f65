"""The line of an optimizer in the table. Free of torch, so that a study file is checked without it."""

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
    """Options in `defaults` that `clip` takes; the others go to `build`, `weight_decay` to the group of the weights."""
    below_one: tuple[str, ...] = ("beta1", "beta2", "beta3", "alpha", "rho", "momentum")
    """Options that must be below 1, as the weight of the past in a moving average."""
    positive: tuple[str, ...] = ()
    """Options that must be above 0."""
    schedule: str | None = None
    """The only schedule that the optimizer is trained with; None: any."""
    one_rate: bool = False
    """Whether all groups must have one learning rate."""
    matrices: str | None = None
    """Attribute of `ParameterGroups` that holds the parameters which the optimizer treats as matrices.

    `build` finds `matrices` in each group: True for these, False for the others, which include the quantizers'. None:
    it treats all parameters alike, and groups have no `matrices`.
    """
    moves_steps: str | None = None
    """Method that moves a quantizer's parameters, which are no matrices; None where it is the optimizer itself."""
    source: str
