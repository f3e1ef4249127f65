"""A study as tables, for a notebook."""

from collections import Counter
from collections.abc import Iterator

from tune_qat.config import Range
from tune_qat.study.arms import methods_of
from tune_qat.study.keys import StudyKeys
from tune_qat.study.space import BATCH_SIZE, is_position
from tune_qat.text.html import html_table
from tune_qat.text.names import shown
from tune_qat.text.numbers import digits


def study_html(study: StudyKeys) -> str:
    """Return what a study trains, what it searches, and how many trials its stages plan at most."""
    names = {one: dict(_dimensions(study, one)) for one in study.space.optimizers}
    columns = list(dict.fromkeys(column for ranges in names.values() for column in ranges))
    searched = [[shown(one), *(ranges.get(column, "") for column in columns)] for one, ranges in names.items()]
    trials = Counter[str]()
    for arm in study.arms():
        trials.update(study.planned(arm))
    stages = [[stage, count, study.training.epochs] for stage, count in trials.items() if count]
    return (
        html_table(f"Study {study.name}", _facts(study).items())
        + html_table("Searched", searched, ["optimizer", *columns])
        + html_table("Planned, at most", stages, ["stage", "trials", "epochs each"])
    )


def _facts(study: StudyKeys) -> dict[str, str]:
    schemes = methods_of(study.quantization)
    bits = [f"{one.weight_bits}/{one.activation_bits}" for one in schemes]
    return {
        "task": f"{study.workload.model} on {study.workload.dataset}",
        "judged by": shown(study.judgement.metric),
        "mode": study.mode,
        "bits of weights/activations": ", ".join(dict.fromkeys(bits)),
        "quantizers": ", ".join(dict.fromkeys(shown(method) for method in schemes.values() if method != "none")),
        "start": study.training.init,
        "arms": str(len(study.arms())),
    }


def _dimensions(study: StudyKeys, optimizer: str) -> Iterator[tuple[str, str]]:
    for name, bounds in study.dimensions(optimizer).items():
        yield name.replace("_", " "), "of the list above" if is_position(name) else _span(name, bounds)


def _span(name: str, bounds: Range) -> str:
    low, high = (f"{end:g}" if name == BATCH_SIZE else digits(end, 3) for end in (bounds.low, bounds.high))
    return low if bounds.low == bounds.high else f"{low} to {high}"
