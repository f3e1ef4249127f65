"""Starts of worsened controls: each is made of another start of the study, by a trial that trains nothing."""

from tune_qat.config import Scheme, TrialConfig, Worsening, stable_hash
from tune_qat.study.arms import Arm
from tune_qat.study.controls import schemes_of
from tune_qat.study.starts import Start, starts_of
from tune_qat.study.study import Study
from tune_qat.study.untrained import untrained

SHARE_OF_MARGIN = 0.25
"""Share of the margin that the worsened start may be away from the calibrated model."""


def worsened_starts_of(study: Study) -> list[Start]:
    """Return the starts of worsened controls, each with the repeats whose arms begin from it."""
    made_of = {repeat: number for number, start in enumerate(starts_of(study)) for repeat in start.repeats}
    found: dict[tuple[object, ...], Start] = {}
    for arm in {(arm.control_for, arm.repeat): arm for arm in study.arms() if arm.control}.values():
        config = worsened_config(study, arm)
        key = arm.control_for, made_of[arm.repeat], stable_hash(config.identity())
        earlier = found[key].repeats if key in found else ()
        found[key] = Start(config=config, repeats=(*earlier, arm.repeat), control_for=arm.control_for)
    return list(found.values())


def worsened_config(study: Study, arm: Arm) -> TrialConfig:
    """Resolve the trial that makes the start of a worsened control's arm, the same for all arms of its repeat.

    The calibrated model is that of the repeat's first seed and the default batch size, as the `default` trials have it.
    """
    return untrained(
        study.default_config(arm, arm.optimizers[0]),
        scheme=Scheme.floating_point(),
        calibration_batches=study.training.calibration_batches,
        worsening=Worsening(
            scheme=schemes_of(study.controls, study.quantization)[arm.control_for or ""],
            within=SHARE_OF_MARGIN * study.judgement.margin,
        ),
    )
