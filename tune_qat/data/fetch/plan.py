"""Plan of what a data set still needs: archives to fetch, bytes to download, room on the disk."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path

from tune_qat.config import TuneQatError
from tune_qat.data.fetch.published import with_published
from tune_qat.data.fetch.sources import Archive, Source, size_text
from tune_qat.data.fetch.sums import changed, read_sums, sums_file, work_folder

NAMED = 10
"""Limit of the files that a message names."""
MOSTLY = 0.99
"""Share of its files from which a folder that was laid out by hand counts as whole; `verify` reads every one."""
SPARE = 50_000_000
"""Bytes that a disk keeps free."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Archives that a fetch would download, and where to."""

    source: Source
    folder: Path
    missing: tuple[Archive, ...]

    @property
    def download(self) -> int:
        """Bytes still to download, as far as sizes are recorded."""
        return sum(max(0, one.size - arrived(self.folder, self.source.name, one)) for one in self.missing)

    @property
    def disk(self) -> int:
        """Bytes that come out of the missing archives, about."""
        return sum(one.unpacked for one in self.missing)

    def published(self) -> "Plan":
        """Return the plan with addresses and checksums of its archives, for which torchvision may be imported."""
        source, files = with_published(self.source), {one.file for one in self.missing}
        return replace(self, source=source, missing=tuple(one for one in source.archives if one.file in files))

    def check_room(self) -> None:
        """Check that the disk has room for what comes out, and for the largest archive meanwhile.

        Raises:
            TuneQatError: it has not.
        """
        if not self.missing:
            return
        largest = max(one.size - arrived(self.folder, self.source.name, one) for one in self.missing)
        needed = self.disk + max(0, largest) + SPARE
        free = shutil.disk_usage(existing(self.folder)).free
        if free < needed:
            raise TuneQatError(
                f"{self.source.name} needs {size_text(needed)} in {self.folder}, which has {size_text(free)} free. "
                "Make room there, or name a folder on a larger disk with --data-dir. Nothing was fetched."
            )


def plan_of(source: Source, folder: Path) -> Plan:
    """Find what of a data set is missing; what is there is read, and is never fetched over.

    Raises:
        TuneQatError: some of it is there, but not whole.
    """
    missing = []
    for archive in source.archives:
        faults = faults_of(source, archive, folder)
        if faults is None:
            missing.append(archive)
        elif faults:
            raise TuneQatError(
                f"{source.name} is in {folder}, but not whole: {named(faults)}\n"
                f"Nothing was fetched. Move {folder / archive.gives} elsewhere or remove it, and run the same command."
            )
    return Plan(source=source, folder=folder, missing=tuple(missing))


def faults_of(source: Source, archive: Archive, folder: Path) -> list[str] | None:
    """Return what is wrong with what an archive gives; None where it is not there.

    Files that were fetched are compared with their sums, those of a folder that was not are counted.
    """
    path = folder / archive.gives
    if not path.exists():
        return [f"{path} is a link to nothing"] if path.is_symlink() else None
    sums = read_sums(sums_file(folder, source.name, archive.file))
    if sums:
        return changed(folder, sums)
    if path.is_dir():
        count = sum(one.is_file() for one in path.rglob("*"))
        whole = count >= round(MOSTLY * archive.members)
        return [] if whole else [f"{path} holds {count:,} of {archive.members:,} files"]
    size = path.stat().st_size
    return [] if size == archive.unpacked else [f"{path} holds {size:,} of {archive.unpacked:,} bytes"]


def arrived(folder: Path, name: str, archive: Archive) -> int:
    """Return the bytes of an archive that are there, of a download that was cut off or of a whole one."""
    paths = (part_of(folder, name, archive), work_folder(folder, name) / archive.file)
    return max((one.stat().st_size for one in paths if one.is_file()), default=0)


def part_of(folder: Path, name: str, archive: Archive) -> Path:
    """Return the file that an archive arrives in."""
    return work_folder(folder, name) / f"{archive.file}.part"


def existing(folder: Path) -> Path:
    """Return a folder, or the nearest one above it that exists."""
    return next((one for one in (folder, *folder.absolute().parents) if one.exists()), Path("/"))


def named(faults: list[str]) -> str:
    """Return faults as a list of the first ones, and the number of the others."""
    more = f"; and {len(faults) - NAMED:,} more" if len(faults) > NAMED else ""
    return "; ".join(faults[:NAMED]) + more
