"""Archives unpacked safely: regular files below one folder, no more and no larger than what is known to be in them.

Nothing is extracted by `extractall`: every name is checked, every byte counted and hashed as it is written.
"""

import errno
import gzip
import hashlib
import lzma
import stat
import struct
import tarfile
import zipfile
import zlib
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Protocol

from tune_qat.config import TuneQatError

CHUNK = 1 << 20
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Errors of a disk, a quota or a limit that leaves no room."""
DAMAGED = (
    *(zipfile.BadZipFile, tarfile.TarError, gzip.BadGzipFile, zlib.error, lzma.LZMAError, EOFError, struct.error),
    *(NotImplementedError, RuntimeError, ValueError, OverflowError),
)
"""Errors that Python's readers of archives raise for damaged, encrypted or unknown ones."""
HEADERS = 2_048
"""Bytes of a tar file beside the content of a member, at most: its header, a longer name, and what fills up blocks."""


class Readable(Protocol):
    """A stream of bytes."""

    def read(self, size: int = ..., /) -> bytes:
        """Read at most so many bytes."""
        ...


class BadArchive(TuneQatError):
    """An archive that is damaged, or has what no archive of a data set has."""


@dataclass
class Unpacked:
    """Files of one archive, as they are written below a folder."""

    folder: Path
    most_bytes: int
    most_members: int
    size: int = 0
    members: int = 0
    sums: dict[str, str] = field(default_factory=dict)
    """SHA-256 by path below the folder."""

    def count(self, name: str) -> None:
        """Count a member, and check its name.

        Raises:
            BadArchive: there are too many, or its name leads elsewhere.
        """
        self.members += 1
        if self.members > self.most_members:
            raise BadArchive(f"it has more than {self.most_members:,} members")
        check_name(name)

    def write(self, name: str, source: Readable) -> None:
        """Write a file.

        Raises:
            BadArchive: there is too much of it, or a file of its name.
        """
        path = PurePosixPath(name)
        target, digest = self.folder / path, hashlib.sha256()
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            file = target.open("xb")
        except OSError as error:
            if error.errno in FULL:
                raise
            raise BadArchive(f"its member {name!r} cannot be a file: {error.strerror}") from None
        with file:
            while chunk := source.read(CHUNK):
                self.size += len(chunk)
                if self.size > self.most_bytes:
                    raise BadArchive(f"it holds more than {self.most_bytes:,} bytes")
                digest.update(chunk)
                file.write(chunk)
        self.sums[str(path)] = digest.hexdigest()


def unpack(archive: Path, into: Unpacked) -> None:
    """Unpack a `.zip` or `.tar.gz` file, or the one file in a `.gz`, into a folder that is made for it.

    Raises:
        BadArchive: it is damaged; a member is a link, a device, or has an absolute name or one that climbs out; or it
            holds more than the limits say. What is written until then stays.
        OSError: it cannot be read, or the disk is full.
    """
    into.folder.mkdir(parents=True)
    take = _zip if archive.suffix == ".zip" else _tar if archive.name.endswith(".tar.gz") else _gz
    try:
        take(archive, into)
    except BadArchive as error:
        raise BadArchive(f"{archive.name} is not unpacked: {error}.") from None
    except DAMAGED as error:
        raise BadArchive(f"{archive.name} is damaged or no archive: {str(error) or type(error).__name__}.") from error


def check_name(name: str) -> None:
    """Check that a member's name stays below the folder that it is unpacked to, on any system.

    Raises:
        BadArchive: it is absolute, climbs out, or has a backslash or control character.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or PureWindowsPath(name).drive or ".." in path.parts:
        raise BadArchive(f"its member {name!r} would be written elsewhere")
    if "\\" in name or not name.isprintable():
        raise BadArchive(f"its member {name!r} has a name that no file of a data set has")


def _zip(archive: Path, into: Unpacked) -> None:
    with zipfile.ZipFile(archive) as opened:
        members = opened.infolist()
        if sum(one.file_size for one in members) > into.most_bytes:  # before anything is written
            raise BadArchive(f"it holds more than {into.most_bytes:,} bytes")
        for one in members:
            into.count(one.filename)
            kind = stat.S_IFMT(one.external_attr >> 16)
            if kind not in (0, stat.S_IFREG, stat.S_IFDIR):
                raise BadArchive(f"its member {one.filename!r} is a link or a device")
            if not one.is_dir():
                with opened.open(one) as source:
                    into.write(one.filename, source)


def _tar(archive: Path, into: Unpacked) -> None:
    most = into.most_bytes + HEADERS * into.most_members
    # As a stream: what is skipped, and headers, which may be as large as they like, count as well.
    with gzip.open(archive) as plain, tarfile.open(fileobj=_Bounded(plain, most), mode="r|") as opened:  # type: ignore[call-overload]
        for one in opened:
            into.count(one.name)
            if not (one.isreg() or one.isdir()):
                raise BadArchive(f"its member {one.name!r} is a link or a device")
            if hasattr(tarfile, "data_filter"):  # Python 3.11.4: its own checks behind ours
                tarfile.data_filter(one, str(into.folder))
            source = opened.extractfile(one) if one.isreg() else None
            if source is not None:
                into.write(one.name, source)


def _gz(archive: Path, into: Unpacked) -> None:
    with gzip.open(archive) as source:
        into.count(archive.stem)
        into.write(archive.stem, source)


class _Bounded:
    """A stream that gives no more than so many bytes, and then an error."""

    def __init__(self, source: Readable, left: int) -> None:
        self._source, self._left = source, left

    def read(self, size: int = -1) -> bytes:
        found = self._source.read(min(size, CHUNK) if size >= 0 else CHUNK)
        self._left -= len(found)
        if self._left < 0:
            raise BadArchive("it holds more than its files and their names")
        return found
