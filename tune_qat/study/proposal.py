"""A study file that is written for a user: its workload, and the largest budget that the hours allow."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tune_qat import data
from tune_qat.config import FLOAT_BITS, UsageError
from tune_qat.study.cost import stage_epochs
from tune_qat.study.file import of_values
from tune_qat.study.study import Study
from tune_qat.text.numbers import duration
from tune_qat.text.toml import toml_text

OPTIMIZERS = ("adam", "adamw", "nesterov", "lion")
MARGINS = {"accuracy": 0.005, "psnr": 0.1}
"""Smallest differences that matter in practice, as a first guess."""
_ANY_MARGIN = 0.01
LARGEST_BATCH, STEPS = 256, 20
"""Largest batch size that is proposed, and the fewest steps of an epoch with it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Wanted:
    """Choices of the user; the budget is not among them."""

    name: str
    model: str
    dataset: str
    options: dict[str, Any]
    """Options of the dataset."""
    bits: Sequence[tuple[int, int]]
    optimizers: Sequence[str] = OPTIMIZERS
    epochs: int = 10
    scratch: bool = False
    """Whether arms start from random weights, and not from a model that is trained first."""
    train_size: int = 10_000
    """Samples of the training split, which bound the batch size."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Trials of an arm, and how often the search is repeated."""

    repeats: int
    random: int
    search: int
    finalists: int
    retrain: int


_CLAIMS = tuple(Plan(repeats=n, random=16, search=0, finalists=3, retrain=2) for n in (6, 4, 3))
"""Plans for a sentence about optimizers: the whole search is repeated, with points that nothing stops."""
_SEARCHES = tuple(
    Plan(repeats=1, random=random, search=search, finalists=0, retrain=retrain)
    for random, search, retrain in ((8, 32, 5), (8, 16, 5), (0, 16, 5), (0, 12, 3), (0, 8, 3), (0, 4, 3))
)
"""Plans for good configurations: one search that stops early."""
_COMMENTS = {
    "repeats": "of the whole search: what is said of optimizers holds for another one",
    "quantizer": "`tune-qat list` has others",
    "bits": "of weights and activations; [32, 32] is floating point, the control",
    "init": '"scratch", "pretrain" (a floating-point model is trained first) or "weights"',
    "[pretrain]": "the floating-point model that all arms start from",
    "[space]": "learning rates: the ranges of the table, which `tune-qat plan` shows",
    "[stages]": "trials of each arm",
    "default": "the optimizer's documented default",
    "search": "proposed by TPE and stopped early by ASHA",
    "retrain": "seeds of the best configuration, on test data",
    "[judgement]": "fixed before anything runs",
    "margin": "smallest difference that matters, in the metric's unit: yours to say",
}
"""Comments beside keys and headings."""


def proposed(wanted: Wanted, *, epoch_s: float, hours: float, at_once: int) -> tuple[str, Study, float]:
    """Return the text of the largest study that fits, the study, and about how many hours all its epochs take.

    Args:
        wanted: what is studied.
        epoch_s: seconds of an epoch of one trial, with its evaluation.
        hours: hours of the clock that there are.
        at_once: trials that run side by side.

    Raises:
        UsageError: a choice does not fit another, or nothing fits the hours.
    """
    least = float("inf")
    for plan in (*_CLAIMS, *_SEARCHES):
        values = _values(wanted, plan)
        study = of_values(Study, {"name": wanted.name, **values}, wanted.name)
        takes = sum(epochs for _, _, epochs in stage_epochs(study)) * epoch_s / at_once / 3600
        if takes <= hours:
            return _commented(toml_text(values)), study, takes
        least = min(least, takes)
    few = f"about {duration(3600 * least)} with {at_once} at once, at {epoch_s:.2g} s an epoch"
    raise UsageError(
        f"The smallest study of these choices takes {few}, but there are {duration(3600 * hours)}. "
        "Give more --hours, or fewer --optimizers, --bits or --epochs."
    )


def smallest(wanted: Wanted) -> Study:
    """Return the study of the smallest budget; raises `UsageError` where a choice does not fit another."""
    return of_values(Study, {"name": wanted.name, **_values(wanted, _SEARCHES[-1])}, wanted.name)


def header(study: Study, command: str, hours: float, at_once: int, pace: str) -> str:
    """Return the comment that a study file begins with: its question, its command and what it takes."""
    work = study.workload
    bits = " and ".join(f"{weights}/{inputs}" for weights, inputs in study.quantization.bits if weights != FLOAT_BITS)
    return (
        f"# Which optimizer for LSQ on {work.model} and {work.dataset}, at {bits or '32/32'}?\n#\n"
        f"#   {command}          (about {duration(3600 * hours)} with {at_once} at once, {pace})\n#\n"
        "# Every key: docs/study_file.md. For an editor: tune-qat schema > study.schema.json\n"
        "#:schema study.schema.json\n\n"
    )


def _values(wanted: Wanted, plan: Plan) -> dict[str, Any]:
    """Return the sections of the study file."""
    high = min(LARGEST_BATCH, 2 ** max(0, (wanted.train_size // STEPS).bit_length() - 1))
    metric = data.get_spec(wanted.dataset).metric
    pairs = dict.fromkeys([(FLOAT_BITS, FLOAT_BITS), *wanted.bits])
    repeated: dict[str, Any] = {}
    if plan.repeats > 1:
        varies = ["split", "design", "order", *["start"] * (not wanted.scratch)]
        repeated = {"repeats": plan.repeats, "repeat": {"varies": varies}}
    start: dict[str, Any] = {} if wanted.scratch else {"pretrain": {"epochs": 3 * wanted.epochs, "batch_size": high}}
    return {
        **repeated,
        "workload": {"model": wanted.model, "dataset": wanted.dataset, **_if_any(options=wanted.options)},
        "quantization": {"quantizer": "lsq", "bits": [list(pair) for pair in pairs]},
        "training": {"epochs": wanted.epochs, "init": "scratch" if wanted.scratch else "pretrain"},
        **start,
        "space": {"optimizers": list(wanted.optimizers), "batch_size": {"low": max(1, high // 8), "high": high}},
        "stages": {
            "default": True,
            "random": plan.random,
            "design": "sobol",
            "search": plan.search,
            "retrain": plan.retrain,
        },
        **({"selection": {"finalists": plan.finalists}} if plan.finalists else {}),
        "judgement": {"metric": metric, "margin": MARGINS.get(metric, _ANY_MARGIN)},
    }


def _if_any(**sections: dict[str, Any]) -> dict[str, Any]:
    return {name: section for name, section in sections.items() if section}


def _commented(text: str) -> str:
    lines = []
    for line in text.splitlines():
        said = _COMMENTS.get(line.partition(" = ")[0].strip())
        lines.append(f"{line:40} # {said}" if said else line)
    return "\n".join(lines) + "\n"
