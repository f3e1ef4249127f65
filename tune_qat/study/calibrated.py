"""The stage `calibrated`: what arms have chosen, after calibration and without a step (post-training quantization)."""

from collections import Counter
from dataclasses import replace

from tune_qat.config import TrialConfig
from tune_qat.study.study import Study
from tune_qat.study.untrained import untrained


def calibrated_config(study: Study, retrained: TrialConfig) -> TrialConfig:
    """Resolve the model that a retrain trial began with: that of its scheme, start, data, seed and batch size alone.

    Optimizers, learning rates and all that only training reads are left out, so that arms share it. In floating point
    nothing is calibrated: neither seed nor batch size matters, and there is one for a start.
    """
    like = replace(retrained, batch_size=study.space.batch_size.middle) if retrained.scheme.is_float else retrained
    batches = retrained.calibration_batches
    return untrained(like, scheme=retrained.scheme, init_seed=0, calibration_batches=batches)


def most_calibrated(study: Study) -> int:
    """Count the trials of the stage at most: arms of one scheme and repeat share those of the same batch size."""
    if not study.stages.calibrated:
        return 0
    sizes = study.space.batch_size.high.bit_length() - study.space.batch_size.low.bit_length() + 1
    searched = [arm for arm in study.arms() if arm.control is None]
    single = Counter((arm.repeat, arm.scheme) for arm in searched if not arm.searches_bits)
    joint = sum(study.most_chosen(arm) for arm in searched if arm.searches_bits)
    starts = sum(scheme.is_float for _, scheme in single)
    shared = sum(min(arms, sizes) for (_, scheme), arms in single.items() if not scheme.is_float)
    return starts + study.stages.retrain * (shared + joint)
