"""Libraries of the extra `analysis`, which a user may not have."""

import importlib
from typing import Any

from tune_qat.config import TuneQatError


def library(module: str) -> Any:
    """A module of them, imported when it is needed.

    Raises:
        TuneQatError: it is not installed; what to type.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise TuneQatError(
            f"This statistic needs {module.partition('.')[0]}, which is not installed: pip install 'tune-qat[analysis]'"
        ) from error
