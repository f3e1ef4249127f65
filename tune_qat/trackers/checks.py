"""Checks before anything is written: that a tool's library is installed, and where runs go."""

from importlib import import_module
from pathlib import Path

from tune_qat.config import TuneQatError, UsageError

LIBRARIES = {"tensorboard": "tensorboard.summary.writer.record_writer", "wandb": "wandb", "optuna": "optuna"}
"""Module that is imported to know, by tool."""


def check_installed(tool: str, asked_by: str) -> None:
    """Raise `TuneQatError` that says how to install a tool's library where it cannot be imported."""
    try:
        import_module(LIBRARIES[tool])
    except ImportError as error:
        extra = f"'tune-qat[{tool}]'" if tool != "optuna" else "optuna"
        raise TuneQatError(
            f"{asked_by} needs {tool}, which cannot be imported ({error}): pip install {extra}"
        ) from None


def log_folder(named: str | None) -> Path | None:
    """Return the folder that `[logging] tensorboard` names, if it does.

    Raises `TuneQatError` where TensorBoard is not installed, `UsageError` where the folder is none.
    """
    if named is None:
        return None
    check_installed("tensorboard", "[logging] tensorboard")
    return local_folder(named, "logging.tensorboard")


def local_folder(named: str, asked_by: str) -> Path:
    """Return a folder of this machine, which need not be there; `UsageError` for a URI, or for a file."""
    path = Path(named).expanduser()
    if "://" in named:
        raise UsageError(f"{asked_by} must be a folder of this machine, but got {named!r}.")
    if path.exists() and not path.is_dir():
        raise UsageError(f"{asked_by} {named} is a file. Name a folder.")
    return path
