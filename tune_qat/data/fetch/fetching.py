"""A data set fetched: each archive downloaded by pooch, unpacked beside its place, and moved there whole."""

import logging
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pooch

from tune_qat.config import TuneQatError, UsageError
from tune_qat.config.secrets import hide_secrets
from tune_qat.config.system import lock
from tune_qat.data.fetch.download import WAITS, Downloader, Said, Told
from tune_qat.data.fetch.plan import Plan, existing, part_of
from tune_qat.data.fetch.session import SCHEMES
from tune_qat.data.fetch.sources import Archive, Source, size_text
from tune_qat.data.fetch.sums import sums_file, work_folder, write_sums
from tune_qat.data.fetch.unpack import FULL, Unpacked, unpack
from tune_qat.data.table import DATASETS

SLACK = 1_000_000
"""Bytes, and a hundred members, beside twice what an archive should give."""
MEMBERS_SLACK = 100


def check_mirror(mirror: str) -> None:
    """Check the address of a mirror.

    Raises:
        UsageError: it is none of http or https.
    """
    try:
        parts = urlsplit(mirror)
        fits = parts.scheme in SCHEMES and bool(parts.hostname) and not parts.query and not parts.fragment
    except ValueError:
        fits = False
    if not fits:
        raise UsageError(
            "--mirror takes the http:// or https:// address of a folder, as https://files.example.org/data, but got "
            f"{hide_secrets(mirror)!r}."
        )


def fetch(plan: Plan, *, mirror: str = "", told: Told, said: Said, waits: Sequence[float] = WAITS) -> None:
    """Fetch what a plan says is missing. Archives of an earlier run are used, and parts of them gone on with.

    Raises:
        TuneQatError: an archive cannot be downloaded, is not the publisher's, or is unsafe; or the disk is full. What
            was put in place stays, what has arrived is kept for the same command, and nothing else is left.
    """
    source, work = plan.source, work_folder(plan.folder, plan.source.name)
    try:
        work.mkdir(parents=True, exist_ok=True)
        with _alone(work, source):
            for left in work.glob("tmp*"):  # what pooch leaves of a process that is killed
                left.unlink()
            for archive in plan.missing:
                path = _downloaded(plan, archive, mirror, told, said, waits)
                said(f"{archive.file}: unpacking into {plan.folder}")
                _put_in_place(plan, archive, path)
                path.unlink()
    except OSError as error:
        raise _cannot_write(plan, error) from error


@contextmanager
def _alone(work: Path, source: Source) -> Iterator[None]:
    """Hold the work folder; a process that dies lets go of it. Without locks on a system there are none."""
    with (work / "lock").open("wb") as file:
        try:
            lock(file, wait=False)
        except BlockingIOError:
            raise TuneQatError(f"{source.name} is being fetched into {work.parents[1]} by another command.") from None
        except OSError:  # not every system, or file system, has locks
            pass
        yield


def _downloaded(plan: Plan, archive: Archive, mirror: str, told: Told, said: Said, waits: Sequence[float]) -> Path:
    """Return the archive, from the first address that gives it."""
    source, work = plan.source, work_folder(plan.folder, plan.source.name)
    pooch.get_logger().setLevel(logging.WARNING)  # which tells its own way, secrets in addresses too
    urls = (f"{mirror.rstrip('/')}/{source.name}/{archive.file}",) if mirror else archive.urls
    failures = []
    for url in urls:
        part = part_of(plan.folder, source.name, archive)
        downloader = Downloader(archive, part, told=told, said=said, waits=waits)
        while True:
            try:
                pooch.retrieve(url, archive.checksum or None, fname=archive.file, path=work, downloader=downloader)
                downloader.forget()
                return work / archive.file
            except TuneQatError as error:
                failures.append(f"{hide_secrets(url)}: {error}")
            except ValueError as error:  # pooch's, for another checksum
                downloader.forget()
                if downloader.resumed:
                    said(f"{archive.file}: the pieces do not belong together, once more from the start")
                    continue
                sums = str(error).partition(": ")[2].partition(".")[0]
                failures.append(f"{hide_secrets(url)}: these are not the publisher's bytes: {sums}")
            break
    raise _cannot_fetch(plan, archive, failures, mirror)


def _put_in_place(plan: Plan, archive: Archive, path: Path) -> None:
    """Unpack an archive beside its place, and move what it gives there; one that cannot be is removed."""
    made = Unpacked(
        folder=work_folder(plan.folder, plan.source.name) / f"{archive.file}.unpacked",
        most_bytes=2 * archive.unpacked + SLACK,
        most_members=2 * archive.members + MEMBERS_SLACK,
    )
    shutil.rmtree(made.folder, ignore_errors=True)
    try:
        unpack(path, made)
        _move(plan, archive, made)
    except TuneQatError as error:
        path.unlink()
        raise TuneQatError(
            f"{plan.source.name} was not fetched: {error}\n"
            "Nothing of it is left, and the archive is removed: the same command fetches a new one."
        ) from error
    finally:
        shutil.rmtree(made.folder, ignore_errors=True)


def _move(plan: Plan, archive: Archive, made: Unpacked) -> None:
    """Move what an archive gives from where it was unpacked to its place. Its sums are written before.

    A process that dies in between leaves sums of files that are missing, which are unpacked again; never files without.
    """
    target = plan.folder / archive.gives
    found = _named(made.folder, target.name)
    if found is None:
        holds = ", ".join(sorted({name.split("/")[0] for name in made.sums})[:5]) or "nothing"
        raise TuneQatError(f"{archive.file} has no {target.name} in it, but {holds}.")
    inside = found.relative_to(made.folder).as_posix()
    sums = {name: one for name, one in made.sums.items() if name == inside or name.startswith(f"{inside}/")}
    write_sums(
        sums_file(plan.folder, plan.source.name, archive.file),
        {f"{archive.gives}{name.removeprefix(inside)}": one for name, one in sums.items()},
    )
    target.parent.mkdir(parents=True, exist_ok=True)
    os.rename(found, target)


def _named(folder: Path, name: str) -> Path | None:
    """Return the file or folder of this name that lies highest."""
    found = sorted(folder.rglob(name), key=lambda path: (len(path.parts), path))
    return found[0] if found else None


def _cannot_fetch(plan: Plan, archive: Archive, failures: Sequence[str], mirror: str) -> TuneQatError:
    source = plan.source
    by_hand = work_folder(plan.folder, source.name) / archive.file
    other = "another --mirror" if mirror else "--mirror"
    return TuneQatError(
        "\n".join(
            [
                f"{archive.file} of {source.name} could not be downloaded:",
                *(f"  {failure}" for failure in failures),
                "What has arrived is kept, and the same command goes on with it. Without a way there:",
                f"  name {other} URL, which has it as URL/{source.name}/{archive.file}, "
                f"or put it by hand at {by_hand} and run the same command,",
                f"  or lay the data out by hand: {DATASETS[source.name].layout}",
            ]
        )
    )


def _cannot_write(plan: Plan, error: OSError) -> TuneQatError:
    if error.errno in FULL:
        free = shutil.disk_usage(existing(plan.folder)).free
        return TuneQatError(
            f"The disk of {plan.folder} is full ({size_text(free)} free) or has a limit: {plan.source.name} was not "
            "fetched to its end. What has arrived is kept; make room, and the same command goes on with it."
        )
    place = error.filename or plan.folder
    return TuneQatError(f"{plan.source.name} cannot be written to {place}: {error.strerror or error}.")
