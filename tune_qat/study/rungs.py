"""Epochs at which ASHA looks at the trials of a study."""

from tune_qat.config import ninth
from tune_qat.study.search_sections import AshaSection
from tune_qat.study.sections import TrainingSection


def default_first_rung(training: TrainingSection) -> int:
    """Choose the first rung where the file names none: a ninth of the epochs, and behind a trained start the half.

    A learning rate that wins in the end spoils a trained start at first, so that an early rung keeps the trials that
    leave the start alone: in the recorded studies of `docs/results`, epoch 6 of 12 kept the later best in 9 of 10 arms
    at each bit width, epoch 2 in 5 and 7.
    """
    return ninth(training.epochs) if training.init == "scratch" else (training.epochs + 1) // 2


def rungs(first: int, training: TrainingSection, asha: AshaSection) -> tuple[int, ...]:
    """Return all rungs: the first, and each next the reduction factor further on, before the last epoch."""
    found = []
    while first < training.epochs and asha.enabled:
        found.append(first)
        first *= asha.reduction_factor
    return tuple(found)
