"""Libraries that may not be there, and one that is kept away: it brings more along than is needed."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec


@contextmanager
def absent(name: str) -> Iterator[None]:
    """Let imports in the block not find a library that another one takes where it is there; not one already imported.

    timm imports wandb, which takes half a second of every process that trains.
    """
    hidden = name not in sys.modules
    if hidden:
        sys.modules[name] = None  # type: ignore[assignment]
    try:
        yield
    finally:
        if hidden:
            del sys.modules[name]


def installed(name: str) -> bool:
    """Return whether a library can be imported; nothing of it is."""
    if name in sys.modules:
        return sys.modules[name] is not None
    return find_spec(name) is not None
