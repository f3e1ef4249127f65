"""Distributed studies of the optimizer, learning rate and batch size that quantization-aware training needs.

`Study` is a study file, `run` runs one, `train` trains one configuration. They are imported when they are first
used: `import tune_qat` loads neither torch nor ray.
"""

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from tune_qat.config import EpochResult, Scheme, TrialConfig, TuneQatError

if TYPE_CHECKING:
    from tune_qat.study import Study
    from tune_qat.training.alone import train
    from tune_qat.tuning.run import run

__version__ = version("tune-qat")
__all__ = ["EpochResult", "Scheme", "Study", "TrialConfig", "TuneQatError", "__version__", "run", "train"]

_LAZY = {"Study": "tune_qat.study", "run": "tune_qat.tuning.run", "train": "tune_qat.training.alone"}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'tune_qat' has no attribute {name!r}")
    return getattr(import_module(_LAZY[name]), name)
