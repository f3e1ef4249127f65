"""Several objectives of a joint search: the metric, and what a configuration costs for it."""

from collections.abc import Sequence

from tune_qat.config.lookup import did_you_mean
from tune_qat.config.shown import shown
from tune_qat.study import method_sections, search_sections
from tune_qat.study.mistakes import rule_error

COSTS = ("weight_bytes", "stored_bytes", "activation_bytes", "bit_operations")
"""Costs that an objective may be, columns of the table `costs`: less is better."""
_SAME_AT_ALL_BITS = ("parameters", "macs")
"""Costs that no choice of bits changes."""
_SIDES = {"weight_bytes": 0, "stored_bytes": 0, "activation_bytes": 1}
"""Position in a pair of bits that alone decides a cost."""
KEY = "search.objectives"
FRONT = 5
"""Points of the front that are trained again where the file does not say."""


def check_objectives(
    search: search_sections.SearchSection,
    selection: search_sections.SelectionSection,
    part: method_sections.QuantizationSection,
    *,
    metric: str,
    mode: str,
) -> None:
    """Check the objectives, and what they do not go together with; an error with its key for the first mistake."""
    names = search.objectives
    if names is None:
        _check_without(search, selection, metric)
        return
    if mode != "joint":
        raise rule_error(KEY, 'is for mode = "joint": a comparison ranks optimizers by one metric')
    _check_names(names, metric)
    if not part.search_bits:
        rule = "needs quantization.search_bits = true: at one pair of bits all configurations cost the same"
        raise rule_error(KEY, rule)
    for name in names:
        if name in _SIDES and len({pair[_SIDES[name]] for pair in part.bits}) == 1:
            raise rule_error(KEY, f"has {name!r}, which is the same for all of quantization.bits, {part.bits}")
    if selection.finalists:
        rule = f"is for one objective; with {KEY} each point of the front gets the retrain seeds. Leave it out"
        raise rule_error("selection.finalists", rule)


def _check_without(
    search: search_sections.SearchSection, selection: search_sections.SelectionSection, metric: str
) -> None:
    example = f'{KEY} = ["{metric}", "weight_bytes"]'
    if search.sampler == search_sections.NSGA2:
        raise rule_error("search.sampler", f"is 'nsga2', which is for several objectives, such as {example}")
    if selection.front is not None:
        raise rule_error("selection.front", f"is for several objectives, such as {example}")


def _check_names(names: Sequence[str], metric: str) -> None:
    known = (metric, *COSTS)
    for name in names:
        if name in _SAME_AT_ALL_BITS:
            raise rule_error(KEY, f"has {name!r}, which no choice of bits changes. Known: {', '.join(known)}")
        if name not in known:
            rule = f"has no objective {shown(name)}.{did_you_mean(name, known)} Known: {', '.join(known)}"
            raise rule_error(KEY, f"{rule}, of which {metric} is the metric of the study")
    if len(set(names)) != len(names):
        raise rule_error(KEY, f"each objective may appear once, but got {shown(names)}")
    if len(names) < 2:
        rule = f"needs {metric} and at least one of {', '.join(COSTS)}, but got {shown(names)}"
        raise rule_error(KEY, f"{rule}. A search by {metric} alone is a study without this key")
    if metric not in names:
        rule = f"needs {metric}, the metric of the study, beside the costs: they are known without training a model"
        raise rule_error(KEY, f"{rule}, but got {shown(names)}")
