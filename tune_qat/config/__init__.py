"""Words of a trial: what it is, and what it gives back. Standard library only, so that every part may import it."""

from tune_qat.config.errors import (
    Interrupted,
    NotRead,
    StorageRefused,
    StudyHalted,
    TooManyFailures,
    TuneQatError,
    UsageError,
)
from tune_qat.config.recipes import Dampening, Distillation, Freezing, QuantizerOptimizer, Worsening
from tune_qat.config.results import EpochResult, LayerCost, LayerResult
from tune_qat.config.scheme import Scheme
from tune_qat.config.trial import TrialConfig, ninth, trial_key
from tune_qat.config.values import (
    AUTO,
    BACKENDS,
    DECAY,
    EAGER,
    FLOAT_BITS,
    INDUCTOR,
    PLAIN_NAME,
    SCHEDULES,
    SEEDS,
    STE_VARIANTS,
    STORAGE_OPTIONS,
    Range,
    check_backend,
    is_number,
    stable_hash,
)

__all__ = [
    "AUTO",
    "BACKENDS",
    "DECAY",
    "Dampening",
    "Distillation",
    "EAGER",
    "EpochResult",
    "FLOAT_BITS",
    "Freezing",
    "INDUCTOR",
    "Interrupted",
    "LayerCost",
    "LayerResult",
    "NotRead",
    "PLAIN_NAME",
    "QuantizerOptimizer",
    "Range",
    "SCHEDULES",
    "SEEDS",
    "STE_VARIANTS",
    "STORAGE_OPTIONS",
    "Scheme",
    "StorageRefused",
    "StudyHalted",
    "TooManyFailures",
    "TrialConfig",
    "TuneQatError",
    "UsageError",
    "Worsening",
    "check_backend",
    "is_number",
    "ninth",
    "stable_hash",
    "trial_key",
]
