"""Code of the user's own in a study: its hash in the keys of trials, and the same code in every process."""

import json
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tune_qat.config import StudyHalted, UsageError
from tune_qat.config.own_parts import allow, allowed, check_part, load_part, package_path, source_sha256, top_package
from tune_qat.config.part_files import sources
from tune_qat.results.reader import read_rows
from tune_qat.storage.paths import StoragePath
from tune_qat.study import Study

SENT = "py_modules_files"
"""Folder of a node in which Ray unpacks `py_modules`, each in one of its own that is on the path of the process."""
SHOWN = 12


class OtherCode(StudyHalted):
    """Error of a process in which the study's own parts are not those of the driver."""


@dataclass(frozen=True, kw_only=True)
class OwnCode:
    """Own parts of a study, as every process that trains has to have them."""

    parts: Mapping[str, str]
    """Path of each own part by its kind."""
    sources: Mapping[str, str]
    """Hash of what the driver has, by top-level package."""
    folders: Sequence[str]
    """Folders of `--code` on this machine; none where Ray sends the code."""

    def opened(self) -> dict[str, str]:
        """Let this process load the parts, and import them; return the column that says what runs.

        Raises:
            OtherCode: the code is another one than the driver's, or is not here, or cannot be imported here.
        """
        if not self.parts:
            return {}
        try:
            allow(map(Path, self.folders or _arrived(self.sources)))
            here = source_here(self.parts.values())
            for top, sha256 in self.sources.items():
                if here[top] != sha256:
                    raise OtherCode(
                        f"{top} has another source here ({here[top][:SHOWN]}) than where the study was started "
                        f"({sha256[:SHOWN]}). It was changed while the study ran: run the same command again."
                    )
            for kind, name in self.parts.items():
                load_part(name, kind)
        except UsageError as error:
            raise OtherCode(str(error)) from None
        return {"sources_json": json.dumps(here, sort_keys=True)}


NO_CODE = OwnCode(parts={}, sources={}, folders=())


def code_of(study: Study, *, sent: bool) -> OwnCode:
    """Find the study's own parts in the folders of `--code`, without importing them; `sent` by Ray, or read here.

    Raises:
        UsageError: a part may not be loaded, or is not there.
    """
    parts = study.own_parts
    for kind, name in parts.items():
        check_part(name, kind)
    folders = () if sent or not parts else tuple(map(str, allowed()))
    return OwnCode(parts=parts, sources=source_here(parts.values()), folders=folders)


def source_here(names: Iterable[str]) -> dict[str, str]:
    """Hash the source of own parts, by top-level package. Nothing is imported."""
    return {top_package(name): source_sha256(name) for name in names}


def sources_recorded(trials: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Return each own package with its hash in the key of a trial, in the order in which trials were started."""
    started = sorted((row for row in trials if row["started_at"] is not None), key=lambda row: row["started_at"])
    return [one for row in started for one in (json.loads(row["params_json"]).get("sources") or {}).items()]


def key_sources(here: Mapping[str, str], trials: Iterable[Mapping[str, Any]], *, accept: bool) -> dict[str, str]:
    """Return the hashes that go into keys: today's, or where another source is accepted that of most trials."""
    recorded = Counter(sources_recorded(trials) if accept and here else ())
    most = {top: sha256 for (top, sha256), _ in reversed(recorded.most_common())}
    return {top: most.get(top, sha256) for top, sha256 in here.items()}


def planned_with(study: Study, results: StoragePath, *, accept: bool) -> tuple[Study, list[str]]:
    """Return a study that is planned and not run, with the source in its keys, and remarks on where that came from.

    Without folders of `--code` it is the record's. Nothing is imported.
    """
    if not study.own_parts:
        return study, []
    trials = read_rows(results, "trials", study.name, columns=("params_json", "started_at"))
    if allowed():
        here = code_of(study, sent=False).sources
        return study.of_source(key_sources(here, trials, accept=accept)), []
    recorded = dict(sources_recorded(trials))  # of the last trial
    said = ", ".join(f"{top} {sha256[:SHOWN]}" for top, sha256 in recorded.items())
    known = f"taken as recorded ({said})" if said else "not known: nothing of the study is recorded"
    return study.of_source(recorded), [f"The source of its own parts is {known}. To compare yours: --code DIR"]


@contextmanager
def code_sent(code: OwnCode, address: str) -> Iterator[list[Path]]:
    """Copy the sources of own packages, and nothing else of them, for Ray to send; nothing on this machine alone."""
    if address == "local" or not code.parts:
        yield []
        return
    with tempfile.TemporaryDirectory(prefix="tune_qat-") as folder:
        packages = {top_package(name): package_path(name) for name in code.parts.values()}
        yield [copy_source(package, Path(folder)) for package in packages.values()]


def copy_source(package: Path, folder: Path) -> Path:
    """Copy a single module, or every `.py` of a package, into a folder; return the copy."""
    copy = folder / package.name
    for file in sources(package):
        target = copy if package.is_file() else copy / file.relative_to(package)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)
    return copy


def _arrived(packages: Iterable[str]) -> list[Path]:
    """Return the folders in which Ray has unpacked the code, and leave no other place for a package of its name.

    A driver's working folder is on the path of its processes, too: on one machine that may be the user's own folder.
    """
    folders = [place for place in sys.path if SENT in Path(place).parts]
    names = [name for top in packages for name in (top, f"{top}.py")]
    sys.path[:] = [
        place for place in sys.path if place in folders or not any((Path(place) / name).exists() for name in names)
    ]
    return [Path(place) for place in folders]
