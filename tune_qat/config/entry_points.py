"""Parts that installed packages offer by name, through entry points. Standard library only."""

from collections.abc import Mapping
from functools import cache
from importlib import metadata

from tune_qat.config.errors import TuneQatError


@cache
def entry_points(kind: str) -> Mapping[str, metadata.EntryPoint]:
    """Return what installed packages offer as a model, dataset or task, by name; nothing of them is imported.

    Groups are `tune_qat.models`, `tune_qat.datasets` and `tune_qat.tasks`.

    Raises:
        TuneQatError: two packages offer the same name.
    """
    found: dict[str, metadata.EntryPoint] = {}
    for point in metadata.entry_points(group=f"tune_qat.{kind}s"):
        other = found.setdefault(point.name, point)
        if other.value != point.value:
            raise TuneQatError(
                f"Two installed packages offer the {kind} {point.name!r}: {other.value} and {point.value}. "
                f"Uninstall one of them."
            )
    return found


def offered(kind: str) -> dict[str, str]:
    """Return what installed packages offer of a kind by name, each with a line for people."""
    return {name: f"{point.value}, installed with {_package(point)}" for name, point in entry_points(kind).items()}


def _package(point: metadata.EntryPoint) -> str:
    return f"{point.dist.name} {point.dist.version}" if point.dist else "an unknown package"
