"""Differences of operating systems, and what is done on one that lacks something: their only home.

Linux has all of it. macOS lacks `sched_getaffinity` and `posix_fallocate`. Windows lacks these and file locks, numbers
of users, limits of open files, most signals, and folders that can be opened: there a record is read, and not written.
"""

import errno
import os
import signal
from pathlib import Path
from typing import IO

from tune_qat.config.errors import TuneQatError

try:
    import fcntl
    import pwd
    import resource
except ImportError:  # Windows
    POSIX = False
else:
    POSIX = True

OPEN_FILES = 512
"""Most files of a process where no limit can be asked for; that of Windows' C library."""


def check_writes_records(what: str) -> None:
    """Raise `TuneQatError` on a system where no record can be written safely; `what` is what was asked for."""
    if not POSIX:
        raise TuneQatError(
            f"{what} needs Linux or macOS: this system has no file locks (fcntl), which keep a record whole. On "
            "Windows use WSL 2 or Docker; status, show, query, report, export and train work here."
        )


def allowed_cpus() -> int:
    """Return the number of CPUs that this process may run on; all of the machine where the system does not tell."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def lock(file: IO[bytes], *, wait: bool = True) -> None:
    """Hold a lock on an open file until it is closed or the process ends.

    Raises `OSError` if another process holds it and this one does not wait, or if there are no locks: then nobody may
    take the file for abandoned.
    """
    if not POSIX:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))
    fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)


def reserve(descriptor: int, size: int) -> None:
    """Take `size` bytes of disk for an open file at once.

    A system that cannot is asked whether it has as much to give. Raises `OSError` if it has not.
    """
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, 0, size)
    elif hasattr(os, "fstatvfs"):
        disk = os.fstatvfs(descriptor)
        if disk.f_bavail * disk.f_frsize < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def user_number() -> int:
    """Return the number of this user, which is the owner of the files it makes; 0 where users and files have none."""
    return os.getuid() if hasattr(os, "getuid") else 0


def home_in_system() -> str | None:
    """Return the home folder that the system has for this user; None for one it does not know, as in a container."""
    try:
        return pwd.getpwuid(os.getuid()).pw_dir if POSIX else None
    except KeyError:
        return None


def most_open_files() -> int:
    """Return the number of files that this process may have open at once."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0] if POSIX else OPEN_FILES


def signals(*names: str) -> tuple[signal.Signals, ...]:
    """Return those of the named signals that the system has."""
    return tuple(getattr(signal, name) for name in names if hasattr(signal, name))


def process_exists(pid: int) -> bool:
    """Tell whether a process has this number; True where that cannot be asked: Windows would end it instead."""
    if not POSIX:
        return True
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return True


def memory_bytes() -> int:
    """Return the memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")


def flush_folder(folder: Path, root: int | None = None) -> None:
    """Write a folder, relative to the open folder `root`, to disk, so that a file renamed in it stays renamed.

    Windows opens no folders: a loss of power may bring the old name back there.
    """
    if not POSIX:
        return
    opened = os.open(folder, os.O_RDONLY, dir_fd=root)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)
