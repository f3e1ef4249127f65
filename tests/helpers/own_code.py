"""Packages of a user's own, made on the fly."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tune_qat.config.own_parts import allow, allowed

NETS = {
    "nets.py": """\
from pathlib import Path

from torch import nn

from .parts import hidden

Path(__file__).with_name("imported").touch()


def build(model_input):
    pixels = model_input.channels * model_input.height * model_input.width
    return nn.Sequential(nn.Flatten(), *hidden(pixels), nn.Linear(12, model_input.classes))
""",
    "parts.py": "from torch import nn\n\n\ndef hidden(pixels):\n    return nn.Linear(pixels, 12), nn.ReLU()\n",
}
"""Modules of a small classifier; without an `__init__.py`, so that its folder is a namespace package."""


def write_nets(folder: Path, package: str) -> str:
    """Write the classifier as a package, and return the path of its builder; its import leaves a file `imported`."""
    write_code(folder / package, NETS)
    return f"{package}.nets:build"


def write_code(folder: Path, files: dict[str, str]) -> Path:
    """Write files by their name below a folder."""
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    return folder


def forgetting_code() -> Iterator[None]:
    """Let a test import code of its own, and leave none of it in this process."""
    modules, places, folders = set(sys.modules), list(sys.path), allowed()
    yield
    allow(folders)
    sys.path[:] = places
    for name in set(sys.modules) - modules:
        if _is_strange(sys.modules[name]):
            del sys.modules[name]


def _is_strange(module: Any) -> bool:
    """Whether a module is neither of this Python nor of this repository."""
    known_of = vars(module)  # and not its attributes: some modules are loaded by the first one that is asked for
    files = [known_of.get("__file__"), *known_of.get("__path__", ())]
    known = (sys.prefix, sys.base_prefix, str(Path(__file__).parents[2]))
    return any(file and not str(file).startswith(known) for file in files)
