"""Import of the optional libraries of the extra `analysis`."""

import importlib
from typing import Any

from tune_qat.config import TuneQatError


def library(module: str) -> Any:
    """Import a module of the extra when it is needed.

    Raises:
        TuneQatError: it is not installed; the message has the `pip install` command.
    """
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise TuneQatError(
            f"This statistic needs {module.partition('.')[0]}, which is not installed: pip install 'tune-qat[analysis]'"
        ) from error
