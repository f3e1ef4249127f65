"""Factor of a study: who moves the parameters of quantizers (LSQ's step sizes), and at which searched rate.

`own` is the arm's optimizer at one rate for all; `own_rate` the same at a rate of its own for quantizers; `adam` and
`sgd` are these in its place, at a rate of their own. All but `own` search one dimension more, over as many trials: in
`own` there is nothing that it would change.
"""

from collections.abc import Sequence

from tune_qat import optimizers, quantizers
from tune_qat.config import QuantizerOptimizer, Range, Scheme, TrialConfig
from tune_qat.config.shown import shown
from tune_qat.study import method_sections, sections
from tune_qat.study.arms import ADAM, OWN, OWN_RATE, SGD, Arm, methods_of
from tune_qat.study.mistakes import rule_error
from tune_qat.study.search_sections import RangeOverride, SpaceSection
from tune_qat.study.space import MULTIPLIER, STEP_RATE, Dimensions, range_of

RANGES = {
    OWN_RATE: Range(low=1e-2, high=1e1),
    ADAM: Range(low=1e-5, high=1e-2),
    SGD: Range(low=1e-4, high=1e-1),
}
"""Searched rates, three decades each: of `own_rate` over the rate of the weights, the others in their own unit."""
DEFAULT_MULTIPLIER = 0.1
"""Rate over that of the weights in the `default` trial of `own_rate`; at 1 it would be the trial of `own` again."""


def levels_of(space: SpaceSection, optimizer: str, scheme: Scheme) -> Sequence[str]:
    """Return the levels that an optimizer is crossed with; `own` alone where the scheme leaves nothing to move."""
    if not quantizers.has_parameters(scheme):
        return (OWN,)
    return space.step_optimizers_of.get(optimizer, space.step_optimizers)


def crossed(space: SpaceSection) -> bool:
    """Return whether any optimizer has another level than `own`."""
    return any(level != OWN for levels in _lists(space).values() for level in levels)


def level_of(space: SpaceSection, config: TrialConfig) -> str:
    """Return the level that a configuration belongs to; `own` in a study without the factor."""
    if not crossed(space):
        return OWN
    separate = config.quantizer_optimizer
    if separate is None:
        return OWN if config.quantizer_lr_multiplier == 1 else OWN_RATE
    return separate.name if separate.name in (ADAM, SGD) else OWN


def step_dimension(space: SpaceSection, level: str) -> Dimensions:
    """Return the dimension that a level searches beside all others; none for `own`."""
    if level == OWN:
        return {}
    given = getattr(space.step_rates, level)
    found = range_of(RANGES[level], (given,), f"space.step_rates.{level}", level)
    return {MULTIPLIER if level == OWN_RATE else STEP_RATE: found}


def step_optimizer(level: str, rate: float | None) -> QuantizerOptimizer | None:
    """Return the optimizer of quantizers' parameters at a level, at its documented default without a `rate`."""
    if level not in (ADAM, SGD):
        return None
    rate = rate or optimizers.get_spec(level).default_learning_rate
    return QuantizerOptimizer(name=level, learning_rate=rate, options=optimizers.resolve_options(level, {}))


def level_column(space: SpaceSection, arm: Arm) -> str | None:
    """Return the level of an arm; None in a study without the factor, and where there is nothing to move."""
    return arm.step_optimizer if crossed(space) and quantizers.has_parameters(arm.scheme) else None


def moved_by(arm: Arm, separate: QuantizerOptimizer | None) -> str | None:
    """Say what moves the quantizers' parameters of an arm; None where there are none, and in joint mode.

    `separate` is the study's one optimizer of all quantizers, if it has one.
    """
    if arm.optimizer is None or not quantizers.has_parameters(arm.scheme):
        return None
    if arm.step_optimizer in (ADAM, SGD):
        return arm.step_optimizer
    return separate.name if separate else optimizers.get_spec(arm.optimizer).moves_steps or arm.optimizer


def check_steps(
    space: SpaceSection, part: method_sections.QuantizationSection, training: sections.TrainingSection, mode: str
) -> None:
    """Check the levels, and what they do not go together with; an error with its key for the first mistake."""
    _check_lists(space)
    if not crossed(space):
        return
    if mode == "joint":
        raise rule_error("space.step_optimizers", 'is for mode = "comparison", in which each of them has arms')
    _check_with(space, training)
    if not any(map(quantizers.has_parameters, methods_of(part))):
        rule = "has nothing to move: no method of this study has parameters at its bits. Leave it out"
        raise rule_error("space.step_optimizers", rule)
    for name in space.optimizers:
        key = _key_of(space, name)
        if OWN_RATE in _lists(space)[key] and optimizers.get_spec(name).one_rate:
            rule = f"{name!r} estimates one rate for all parameters and has no own_rate; give it a list without, as "
            raise rule_error(key, f'{rule}space.step_optimizers_of.{name} = ["own", "adam"]')


def _check_lists(space: SpaceSection) -> None:
    """Check names, levels and ranges by themselves."""
    for name in space.step_optimizers_of:
        if name not in space.optimizers:
            rule = f"must be one of space.optimizers ({', '.join(space.optimizers)})"
            raise rule_error(f"space.step_optimizers_of.{name}", rule)
    lists = _lists(space)
    for key, levels in lists.items():
        if len(set(levels)) != len(levels):
            raise rule_error(key, f"each may appear once, but got {shown(list(levels))}")
    used = {level for levels in lists.values() for level in levels}
    for level in RANGES:
        if level in used:
            step_dimension(space, level)
        elif getattr(space.step_rates, level) != RangeOverride():
            raise rule_error(f"space.step_rates.{level}", f"is the range of {level!r}, which is in no step_optimizers")


def _check_with(space: SpaceSection, training: sections.TrainingSection) -> None:
    """Refuse two other keys that say who moves the quantizers' parameters, or how fast."""
    key = "space.step_optimizers"
    if training.quantizer_optimizer is not None:
        rule = "says who moves the quantizers' parameters, and so does training.quantizer_optimizer; keep one of them"
        raise rule_error(key, rule)
    if space.quantizer_lr_multiplier is not None:
        rule = "space.quantizer_lr_multiplier searches in every arm what 'own_rate' searches in its own; keep one of "
        raise rule_error(key, f"{rule}them (the range of 'own_rate' is space.step_rates.own_rate)")


def _lists(space: SpaceSection) -> dict[str, Sequence[str]]:
    """Return the lists of levels that optimizers of the study use, by key of the file."""
    keys = dict.fromkeys(_key_of(space, name) for name in space.optimizers)
    own = {f"space.step_optimizers_of.{name}": levels for name, levels in space.step_optimizers_of.items()}
    return {key: own.get(key, space.step_optimizers) for key in keys}


def _key_of(space: SpaceSection, optimizer: str) -> str:
    """Return the key of the list that an optimizer takes its levels from."""
    own = optimizer in space.step_optimizers_of
    return f"space.step_optimizers_of.{optimizer}" if own else "space.step_optimizers"
