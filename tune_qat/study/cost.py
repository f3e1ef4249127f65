"""Cost of a study, in trials and epochs."""

from collections.abc import Iterator

from tune_qat.config.statuses import CALIBRATED, PRETRAIN
from tune_qat.study.calibrated import most_calibrated
from tune_qat.study.controls import WORSENED
from tune_qat.study.starts import starts_of
from tune_qat.study.study import Study
from tune_qat.study.worsened_start import worsened_starts_of


def stage_epochs(study: Study) -> Iterator[tuple[str, int, int]]:
    """Count what each stage costs at most: (stage, trials, epochs in all), in the order they run."""
    if study.training.init == "pretrain" and study.pretrain is not None:
        starts = len(starts_of(study))
        yield PRETRAIN, starts, starts * study.pretrain.epochs
    worsened = len(worsened_starts_of(study))
    if worsened:
        yield WORSENED, worsened, worsened
    totals: dict[str, int] = {}
    for arm in study.arms():
        for stage, trials in study.planned(arm).items():
            totals[stage] = totals.get(stage, 0) + trials
    for stage, trials in totals.items():
        if trials:
            yield stage, trials, trials * study.training.epochs
    calibrated = most_calibrated(study)
    if calibrated:
        yield CALIBRATED, calibrated, 0


def trial_epochs(study: Study) -> int:
    """Return the number of epochs of all trials if none is stopped early."""
    return sum(epochs for _, _, epochs in stage_epochs(study))
