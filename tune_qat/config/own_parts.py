"""Own parts: models, datasets and tasks that a study names as `package.module:name`. Standard library only.

A study file or a record never causes an import by itself: own parts come from folders that this command names
(`--code DIR`), and from nowhere else. All that is refused is refused before anything is imported.
"""

import importlib
import shlex
import sys
import traceback
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from keyword import iskeyword
from pathlib import Path
from types import ModuleType
from typing import Any

from tune_qat.config.errors import UsageError
from tune_qat.config.part_files import check_defined, check_inside, find_file, hash_source
from tune_qat.config.shown import cut, shown

LIBRARIES = ("timm", "torchvision")
"""Prefixes of names that are a library's network, as `timm:vit_tiny_patch16_224`."""
_OURS = ("tune_qat", "analysis", "search_spaces")
_allowed: list[Path] = []
_only_hashed = False
"""Whether this command compares own parts without importing any."""


@dataclass(frozen=True, slots=True)
class _Found:
    """A module below a folder of `--code`."""

    file: Path
    package: Path
    """Its top-level package, or the module's file where it is in none."""
    folder: Path


def is_own(name: str) -> bool:
    """Tell whether a name is the path of an own part, and no line of a table and no network of a library."""
    return isinstance(name, str) and ":" in name and name.partition(":")[0] not in LIBRARIES


def own_parts(model: str, dataset: str, task: str = "") -> dict[str, str]:
    """Return the names that are paths of own parts, by kind."""
    named = {"model": model, "dataset": dataset, "task": task}
    return {kind: name for kind, name in named.items() if is_own(name)}


def allow(folders: Iterable[Path], *, only_hashed: bool = False) -> None:
    """Set the folders that this process may load own parts from, in place of earlier ones; or may hash them in.

    Raises:
        UsageError: there is no such folder.
    """
    given = [Path(folder).absolute() for folder in folders]
    for folder in given:
        if not folder.is_dir():
            raise UsageError(f"--code takes the folder that a package of yours lies in, but {folder} is no folder.")
    global _only_hashed
    _allowed[:], _only_hashed = given, only_hashed


def allowed() -> tuple[Path, ...]:
    """Return the folders that this process may load own parts from."""
    return tuple(_allowed)


def check_name(name: str, kind: str) -> None:
    """Refuse a path that no own part has: `package.module:name` of identifiers, not of Python, a library or tune-qat.

    Raises:
        UsageError: with the rule.
    """
    module, _, attribute = name.partition(":")
    if not all(one.isidentifier() and not iskeyword(one) for one in (*module.split("."), attribute)):
        raise UsageError(f"{_said(name, kind)} must be written as package.module:name, in Python's identifiers.")
    top = top_package(name)
    if top in sys.stdlib_module_names or top in _OURS:
        whose = "of tune-qat" if top in _OURS else "of Python's standard library"
        raise UsageError(
            f"{_said(name, kind)} is no own part: {top} is {whose}, which a study must not name. If the package is "
            f"yours, give it another name."
        )


def top_package(name: str) -> str:
    """Return the first name of an own part's path: the package that is hashed, and sent to the nodes."""
    return name.partition(":")[0].partition(".")[0]


def package_path(name: str) -> Path:
    """Return the folder of an own part's top-level package, or the file of its single module. Nothing is imported."""
    return _find(name, "part").package


def source_sha256(name: str) -> str:
    """Hash every `.py` of an own part's top-level package, or its single file. Nothing is imported.

    Raises:
        UsageError: the part may not be loaded, or is not there.
    """
    found = _find(name, "part")
    return hash_source(found.package, found.folder)


def check_part(name: str, kind: str) -> Path:
    """Return the file of an own part that `load_part` may import. Nothing is imported.

    Raises:
        UsageError: the part may not be loaded, or is not there.
    """
    found = _find(name, kind)
    if not found.file.is_file() or found.file.suffix != ".py":
        raise UsageError(f"{_said(name, kind)} is in {found.file}, which is no Python source file.")
    check_defined(name.partition(":")[2], found.file)
    return found.file


def load_part(name: str, kind: str) -> Any:
    """Import an own part, and return the function or class that it names.

    Raises:
        UsageError: it may not be imported, it cannot be, or it is neither a function nor a class.
    """
    file = check_part(name, kind)
    if _only_hashed:
        raise UsageError(f"{_said(name, kind)} is code of yours, which this command does not import.")
    folder = str(_find(name, kind).folder)
    if folder not in sys.path:
        # Last, so that no file there stands for a library's module of the same name.
        sys.path.append(folder)
    importlib.invalidate_caches()
    try:
        module = importlib.import_module(name.partition(":")[0])
        part = getattr(module, name.partition(":")[2])
    except (Exception, SystemExit) as error:  # whatever a user's module does at its top level
        raise UsageError(f"{_said(name, kind)} cannot be imported: {_last_line(error, folder)}") from None
    if not module.__file__ or Path(module.__file__).resolve() != file.resolve():
        raise UsageError(f"{_said(name, kind)} was expected in {file}, but Python imported {module.__file__}.")
    if not callable(part):
        raise UsageError(f"{_said(name, kind)} must be a function or a class, but is {shown(part)}.")
    return part


def _find(name: str, kind: str) -> _Found:
    check_name(name, kind)
    module = name.partition(":")[0]
    expected = f"{module.replace('.', '/')}.py"
    if not _allowed:
        raise UsageError(
            f"{_said(name, kind)} is code of yours, which is imported only from a folder that the command names: "
            f"DIR, with {expected} in it. {_repeat()}"
        )
    top = top_package(name)
    for folder in _allowed:
        file, package = find_file(module, folder), find_file(top, folder)
        if file is None or package is None:
            continue
        package = package.parent if package.name == "__init__.py" else package
        check_inside(package, folder)
        check_inside(file, folder)
        _check_not_elsewhere(top, package, _said(name, kind))
        return _Found(file, package, folder)
    where = " nor in ".join(map(str, _allowed))
    raise UsageError(f"{_said(name, kind)} is not found: there is no {expected} in {where} (--code).")


def _check_not_elsewhere(top: str, package: Path, said: str) -> None:
    """Refuse a name that Python would import, or has imported, from another place than `package`."""
    module = sys.modules.get(top)
    places = _module_places(module) if module is not None else _importable_places(top)
    strange = [place for place in places if place.resolve() != package.resolve()]
    if strange or (module is not None and not places):
        what = "is imported already" if module is not None else "is installed, too"
        where = f", from {strange[0]}" if strange else ""
        raise UsageError(
            f"{said} is no own part: {top} {what}{where}, and not from {package}. Give your package another name."
        )


def _module_places(module: ModuleType) -> list[Path]:
    if hasattr(module, "__path__"):
        return [Path(place) for place in module.__path__]
    file: str | None = getattr(module, "__file__", None)
    return [Path(file)] if file else []


def _importable_places(top: str) -> list[Path]:
    """Return where Python would import a top-level name from. Finding it imports nothing."""
    for finder in sys.meta_path:
        spec: ModuleSpec | None = finder.find_spec(top, None)
        if spec is not None:
            inside = spec.submodule_search_locations
            return [Path(place) for place in inside or []] or [Path(spec.origin or top)]
    return []


def _said(name: str, kind: str) -> str:
    return f"{kind.capitalize()} {shown(name)}"


def _repeat() -> str:
    """Say how to repeat the command that runs, with the folder."""
    program = Path(sys.argv[0]).name if sys.argv else ""
    if program not in ("tune-qat", "__main__.py"):
        return "Name that folder with --code DIR."
    return f"Repeat with it: tune-qat {shlex.join(sys.argv[1:])} --code DIR"


def _last_line(error: BaseException, folder: str) -> str:
    """Return the last line of a traceback, with the last place of it that is in the user's folder."""
    text = cut(traceback.format_exception_only(error)[-1].strip())
    own = [one for one in traceback.extract_tb(error.__traceback__) if one.filename.startswith(folder)]
    return f"{text} ({own[-1].filename}, line {own[-1].lineno})" if own else text
