"""Files of own parts: found below a folder, read and hashed without importing anything. Standard library only."""

import ast
import hashlib
import os
import sysconfig
from collections.abc import Iterator
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)
from pathlib import Path

from tune_qat.config.errors import UsageError
from tune_qat.config.lookup import did_you_mean

_LOADERS = (
    (ExtensionFileLoader, EXTENSION_SUFFIXES),
    (SourceFileLoader, SOURCE_SUFFIXES),
    (SourcelessFileLoader, BYTECODE_SUFFIXES),
)
"""Kinds of modules in Python's own order, so that the file that is found is the one that Python would import."""


def find_file(module: str, folder: Path) -> Path | None:
    """Return the file that Python would run for `module`, or None where `folder` has none.

    Of a namespace package it is the folder. Nothing is imported, packages above the module neither.
    """
    found: Path | None = None
    inside = folder
    for part in module.split("."):
        # A new finder each time: an old one may not have seen a file that has just been written.
        spec = FileFinder(str(inside), *_LOADERS).find_spec(part)
        if spec is None:
            return None
        found = Path(spec.origin) if spec.loader and spec.origin else inside / part
        # No folder below a module that is a file: the finder finds nothing in it.
        inside = inside / part
    return found


def check_inside(path: Path, folder: Path) -> None:
    """Refuse what only a link leads to from `folder`, and what is of Python's installation.

    Raises:
        UsageError: with the place that it leads to.
    """
    real = path.resolve()
    if not real.is_relative_to(folder.resolve()):
        raise UsageError(f"{path} leads out of the folder of --code, to {real}. Give --code the folder that it is in.")
    places = {Path(sysconfig.get_path(kind)).resolve() for kind in ("stdlib", "platstdlib", "purelib", "platlib")}
    if any(real.is_relative_to(place) for place in places):
        raise UsageError(
            f"{path} is of Python's installation: packages that are installed are no own parts. Write a function of "
            f"your own that calls it, in a folder of your own for --code."
        )


def check_defined(name: str, file: Path) -> None:
    """Refuse a name that the top level of `file` does not define: what it only imports is somebody else's.

    Raises:
        UsageError: with the names that are defined there.
    """
    try:
        tree = ast.parse(file.read_bytes(), filename=str(file))
    except (SyntaxError, ValueError) as error:
        raise UsageError(f"{file} is no Python: {type(error).__name__}: {error}.") from None
    defined, imported = _bindings(tree.body)
    if name in imported:
        raise UsageError(
            f"{file} imports {name!r} and does not define it. Name the module that defines it, or define a function "
            f"there that calls it."
        )
    if name not in defined:
        public = ", ".join(sorted(one for one in defined if not one.startswith("_"))) or "nothing"
        hint = did_you_mean(name, defined)
        raise UsageError(f"{file} defines no {name!r} at its top level.{hint} It defines: {public}.")


def _bindings(body: list[ast.stmt]) -> tuple[set[str], set[str]]:
    """Return what statements define, and what they import, also inside of `if`, `try` and `with`."""
    defined: set[str] = set()
    imported: set[str] = set()
    foreign: set[str] = set()
    copies: list[tuple[set[str], str | None]] = []
    for node in _statements(body):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            defined.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            copies.append(({one.id for one in targets if isinstance(one, ast.Name)}, _whose(node.value)))
        elif isinstance(node, ast.Import | ast.ImportFrom):
            names = {(alias.asname or alias.name).partition(".")[0] for alias in node.names}
            imported |= names
            foreign |= set() if isinstance(node, ast.ImportFrom) and node.level else names
    for names, whose in copies:
        # `build = shutil.rmtree` is another name of what is imported, unless from the package itself.
        (imported if whose in foreign else defined).update(names)
    return defined, imported


def _whose(value: ast.expr | None) -> str | None:
    """Return the first name of a plain name with or without attributes; None for any other expression."""
    while isinstance(value, ast.Attribute):
        value = value.value
    return value.id if isinstance(value, ast.Name) else None


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        yield node
        if isinstance(node, ast.If | ast.Try | ast.With):
            for block in (node.body, getattr(node, "orelse", []), getattr(node, "finalbody", [])):
                yield from _statements(block)
            for handler in getattr(node, "handlers", []):
                yield from _statements(handler.body)


def hash_source(package: Path, folder: Path) -> str:
    """Hash a single file, or every `.py` of a package: names below it and contents, in the order of the names.

    Raises:
        UsageError: a file that a link leads to, out of `folder`: it would not travel with the package.
    """
    digest = hashlib.sha256()
    for file in sources(package):
        check_inside(file, folder)
        content = file.read_bytes()
        name = file.name if file == package else file.relative_to(package).as_posix()
        digest.update(f"{name}\0{len(content)}\0".encode())
        digest.update(content)
    return digest.hexdigest()


def sources(package: Path) -> list[Path]:
    """Return a single file, or the files of a package that Python could import, links to folders included."""
    if package.is_file():
        return [package]
    found: list[Path] = []
    seen: set[str] = set()
    for folder, folders, files in os.walk(package, followlinks=True):
        real = os.path.realpath(folder)
        # Only what an import can reach, so no `.git` and no environment; and no link that leads to a folder above it.
        folders[:] = [] if real in seen else [one for one in folders if one.isidentifier() and one != "__pycache__"]
        if real not in seen:
            found += [Path(folder, one) for one in files if one.endswith(".py")]
        seen.add(real)
    return sorted(found, key=lambda path: path.relative_to(package).as_posix())
