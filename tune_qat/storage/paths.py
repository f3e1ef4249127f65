"""Paths of files: local ones, and URIs on any file system of pyarrow or fsspec, used alike."""

import errno
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tune_qat.config import NotRead, TuneQatError, UsageError
from tune_qat.config.regular import check_regular
from tune_qat.config.secrets import hide_secrets, may_hold_secret
from tune_qat.config.shown import shown
from tune_qat.config.system import flush_folder
from tune_qat.storage import s3

OBJECT_STORAGE = ("s3", "gs", "gcs")
"""Schemes of object storage, without folders; an uploaded file appears there once it is complete."""
NO_RECORD = ("http", "https", "ftp", "data", "zip", "tar", "libarchive", "github", "git", "gist")
"""Schemes that fsspec knows and that cannot be listed, written to, or written to whole."""


@dataclass(frozen=True)
class RemotePath:
    """A path on a remote file system, with the methods of `pathlib.Path` that this project uses."""

    uri: str
    """URI without a slash at its end."""

    def __truediv__(self, name: str) -> "RemotePath":
        root, path, query = _split(self.uri)
        return RemotePath(f"{root}{path}/{name}{query}")

    def __str__(self) -> str:
        return self.uri

    @property
    def name(self) -> str:
        return _split(self.uri)[1].rpartition("/")[2]

    @property
    def parent(self) -> "RemotePath":
        root, path, query = _split(self.uri)
        return RemotePath(f"{root}{path.rpartition('/')[0]}{query}")

    def absolute(self) -> "RemotePath":
        return self

    def resolve(self) -> "RemotePath":
        return self

    def exists(self) -> bool:
        from pyarrow.fs import FileType

        files, path = self._found()
        with _reading(self):
            return bool(files.get_file_info(path).type != FileType.NotFound)

    def read_bytes(self) -> bytes:
        files, path = self._found()
        with files.open_input_file(path) as file:
            return bytes(file.read())

    def unlink(self, missing_ok: bool = False) -> None:
        files, path = self._found()
        if _is_s3(self.uri):
            if not missing_ok and not self.exists():
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), self.uri)
            s3.remove(files, [path])
            return
        try:
            files.delete_file(path)
        except FileNotFoundError:
            if not missing_ok:
                raise

    def glob(self, pattern: str) -> Iterator["RemotePath"]:
        """Yield the files and folders below this one whose path matches, part by part; `NotRead` if it cannot say."""
        from pyarrow.fs import FileSelector

        first, _, rest = pattern.partition("/")
        files, path = self._found()
        with _reading(self):
            found = files.get_file_info(FileSelector(path, allow_not_found=True))
        for info in found:
            if fnmatchcase(info.base_name, first):
                child = self / info.base_name
                yield from child.glob(rest) if rest else (child,)

    def _found(self) -> tuple[Any, str]:
        """Return the pyarrow file system, and the path on it."""
        root, path, query = _split(self.uri)
        files, top = _file_system(root + query)
        return files, top + path


StoragePath = Path | RemotePath
"""A local or remote file or folder. Operations that differ between the two are functions of this module."""
Write = Callable[[StoragePath, bytes | memoryview], None]
"""Type of `write_whole`, and of `Patience.write_whole`, which repeats a refused write."""


def storage_path(named: str | StoragePath) -> StoragePath:
    """Return the path of a string from the command line or a caller; a local path keeps its form, with ~ expanded.

    Raises `UsageError` for a URI that has no known file system, names no bucket, or holds a secret.
    """
    if isinstance(named, RemotePath):
        return named
    if isinstance(named, str):
        refuse_secrets(named)
    if "://" not in str(named):
        return _local(named)
    if isinstance(named, Path):
        raise TypeError(f"a URI must be a str, because a Path drops one of its slashes: {named}")
    try:
        parts = urlsplit(named)
    except ValueError as error:
        raise UsageError(f"A URI cannot be read: {error}. It is like s3://bucket/results.") from None
    if parts.scheme == "file":
        if parts.netloc not in ("", "localhost"):
            raise UsageError(
                f"{named} names the host {parts.netloc!r}: a file:// URI of this machine has three slashes."
            )
        return _local(unquote(parts.path)).absolute()
    if parts.scheme in OBJECT_STORAGE and not parts.netloc:
        raise UsageError(f"{named} names no bucket, as {parts.scheme}://bucket/results does.")
    if parts.scheme in NO_RECORD:
        raise UsageError(
            f"{parts.scheme}:// cannot hold a record. Use a folder, s3://bucket/results or gs://bucket/results."
        )
    root, path, query = _split(named)
    _file_system(root + query)
    return RemotePath(f"{root}{path.rstrip('/')}{query}")


def refuse_secrets(named: str) -> None:
    """Raise `UsageError` for a URI that holds a secret; nothing is connected to."""
    if may_hold_secret(named):
        raise UsageError(
            f"{hide_secrets(named)} holds a password, or an option that may be one, which would end up in the record. "
            "Give it by the environment variables or the configuration of the file system."
        )


def _local(named: str | Path) -> Path:
    """Return a local path with ~ expanded; `UsageError` for what no file system has, or what leads nowhere."""
    try:
        path = Path(named).expanduser()
        path.exists()  # which takes a NUL for a name that does not exist
        if "\0" in str(path):
            raise ValueError("embedded null byte")
    except (OSError, RuntimeError, ValueError) as error:  # too long; a user that there is not; a NUL
        cause = error.strerror if isinstance(error, OSError) else str(error)
        raise UsageError(f"{shown(str(named))} is no path here: {cause}") from None
    broken = next((one for one in (path, *path.parents) if one.is_symlink() and not one.exists()), None)
    if broken is not None:
        raise UsageError(
            f"{path} cannot be used: {broken} is a link to nothing. Remove the link, or name another folder."
        )
    return path


def open_input(path: StoragePath) -> Any:
    """Open a file for pyarrow, which may read parts of it; raise `FileNotFoundError` if it does not exist."""
    from pyarrow import OSFile

    if isinstance(path, Path):
        check_regular(path)
        return OSFile(str(path))
    files, name = path._found()
    return files.open_input_file(name)


def read_whole(path: StoragePath) -> bytes:
    """Return a file's content.

    Raises:
        FileNotFoundError: the file does not exist.
        NotRead: storage does not give it.
        TuneQatError: it is not a regular file.
    """
    with _reading(path):
        if isinstance(path, Path):
            check_regular(path)
        return path.read_bytes()


@contextmanager
def _reading(path: StoragePath) -> Iterator[None]:
    """Turn an `OSError` of the block, but for that of a file that does not exist, into a `NotRead` of this path."""
    try:
        yield
    except FileNotFoundError:
        raise
    except OSError as error:
        raise NotRead(f"{path} cannot be read: {cause_of(error)}.") from error


def write_whole(path: StoragePath, data: bytes | memoryview, root: int | None = None) -> None:
    """Replace a file atomically: a reader finds the old or the new one, never a part of one.

    A local file is written under a temporary name, synchronised and renamed; on object storage, an upload appears when
    it is complete. Raises `OSError` if the write is refused; the old file is then still there.

    `root` is the open folder that a relative local path is of: it stays the same one where another is mounted over it,
    or it is unmounted, in the middle of the write.
    """
    if isinstance(path, RemotePath):
        _write_remote(path, data)
        return
    # Readers skip the incomplete file because of its leading dot and its ending.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    _make_folders(path.parent, root)
    try:
        with open(temporary, "wb", opener=lambda name, flags: os.open(name, flags, 0o666, dir_fd=root)) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path, src_dir_fd=root, dst_dir_fd=root)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(temporary, dir_fd=root)
    flush_folder(path.parent, root)


def _make_folders(folder: Path, root: int | None) -> None:
    if root is None:
        folder.mkdir(parents=True, exist_ok=True)
        return
    for part in reversed([folder, *folder.parents]):
        with suppress(FileExistsError):
            os.mkdir(part, dir_fd=root)


def cause_of(error: OSError) -> str:
    """Return an error of a file system in a few words."""
    return error.strerror or str(error).partition("\n")[0].removesuffix(".")


@contextmanager
def naming(output: Path) -> Iterator[None]:
    """Turn an `OSError` of the block, which writes a user's file, into a `TuneQatError` that names the file."""
    try:
        yield
    except OSError as error:
        raise TuneQatError(f"{output} cannot be written: {error.strerror or error}.") from None


def _write_remote(path: RemotePath, data: bytes | memoryview) -> None:
    files, name = path._found()
    if urlsplit(path.uri).scheme in OBJECT_STORAGE:
        with files.open_output_stream(name) as file:
            file.write(data)
        return
    folder, _, last = name.rpartition("/")
    temporary = f"{folder}/.{last}.{os.getpid()}.tmp"
    files.create_dir(folder, recursive=True)
    with files.open_output_stream(temporary) as file:
        file.write(data)
    files.move(temporary, name)


def remove_folder(folder: StoragePath) -> None:
    """Remove a folder and its content, if it exists."""
    if isinstance(folder, Path):
        shutil.rmtree(folder, ignore_errors=True)
        return
    files, path = folder._found()
    if _is_s3(folder.uri):
        from pyarrow.fs import FileSelector, FileType

        inside = files.get_file_info(FileSelector(path, recursive=True, allow_not_found=True))
        s3.remove(files, [one.path for one in inside if one.type == FileType.File])
        return
    with suppress(FileNotFoundError):
        files.delete_dir(path)


def move(path: StoragePath, target: StoragePath) -> None:
    """Move a file, replacing one that has the new name; copied and removed unless both paths are local."""
    if isinstance(path, Path) and isinstance(target, Path):
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(path, target)
        return
    write_whole(target, path.read_bytes())
    path.unlink()


@lru_cache
def _file_system(root: str) -> tuple[Any, str]:
    """Return the file system of a URI without a path, and the name of its root there."""
    from pyarrow import ArrowException
    from pyarrow.fs import FileSystem, FSSpecHandler, PyFileSystem

    try:
        files, path = FileSystem.from_uri(root)
        return s3.limited(files), path
    except OSError as error:
        raise TuneQatError(f"{root} cannot be reached: {error}") from None
    except (ArrowException, ValueError) as error:
        if "Unrecognized filesystem type" not in str(error):
            raise UsageError(f"{root} names no file system: {error}") from None
    import fsspec

    try:
        # Without a host, paths begin at the root.
        files, path = fsspec.core.url_to_fs(f"{root}/" if root.endswith("://") else root)
    except OSError as error:
        raise TuneQatError(f"{root} cannot be reached: {error}") from None
    except (ImportError, ValueError, TypeError) as error:
        raise UsageError(
            f"{root}: no file system for it is known ({error}). Without further packages there are a folder, s3:// and "
            "gs://; others come with the fsspec package for them."
        ) from None
    return PyFileSystem(FSSpecHandler(files)), path.rstrip("/")


def _is_s3(uri: str) -> bool:
    return urlsplit(uri).scheme == "s3"


def _split(uri: str) -> tuple[str, str, str]:
    """Return scheme and host, path, and query with its question mark: concatenated, they are the URI again."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}", parts.path, f"?{parts.query}" if parts.query else ""
