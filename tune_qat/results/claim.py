"""Claims: files beside the record that let only one process run a study, on any storage and without common clocks.

Each process writes a claim of its own and then reads those of others, so that of two that start at once at least one
sees the other. On its own host a process is alive if the operating system knows it; on another host, if it still
rewrites its claim. Times are only shown, never compared.
"""

import hashlib
import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tune_qat.config import NotRead, TuneQatError
from tune_qat.config.system import check_writes_records, process_exists
from tune_qat.results.layout import check_name
from tune_qat.storage.paths import StoragePath, read_whole, write_whole

BEAT_S = 5.0
"""Seconds after which a process rewrites its claim."""
SILENT_S = 60.0
"""Seconds without a rewrite after which a claim from another host is taken over."""
LOOK_S = 0.5
"""Seconds between two checks of other claims."""
END_S = 2.0
"""Longest wait for the last rewrite of a claim that ends."""
_HERE: set[str] = set()
"""Tokens of the claims of this process: storage may have kept the file of one that has ended."""
DEAD = "ZXx"
"""States in /proc of a process that has ended, though its parent has not asked for it."""


@dataclass(frozen=True, kw_only=True)
class Holder:
    """The process that claims a study, as written into its file."""

    token: str
    pid: int
    machine: str
    """Hash of the host's identity, which changes with a restart and in another container."""
    process: str
    """Start time of the process: another one may get the same number later."""
    since: str
    holding: bool = False
    """Whether it runs the study; False while it still checks other claims."""
    beat: int = 0
    """Number of rewrites."""
    host: str = ""
    """Name of the host, in claims of earlier versions: a crash leaves its claim beside a record that is published."""

    @property
    def here(self) -> bool:
        """Whether its process numbers are those of this process."""
        return self.machine in (_machine(), _identity())

    def __str__(self) -> str:
        elsewhere = f"host {self.host}" if self.host else "another machine, or in another container"
        return f"process {self.pid} on {'this machine' if self.here else elsewhere}, since {self.since}"


@contextmanager
def claimed(
    results: StoragePath,
    study_id: str,
    purpose: str,
    *,
    say: Callable[[str], Any] = lambda text: None,
    lost: Callable[[str], Any] = lambda text: None,
) -> Iterator[None]:
    """Hold the claim of a study for this process while the block runs.

    Args:
        results: folder of the record.
        study_id: the study.
        purpose: purpose of the claim, such as `run`; claims for other purposes do not conflict with it.
        say: function that is told why this process waits.
        lost: function called from another thread if the claim was taken over while this process was suspended.

    Raises:
        TuneQatError: another process has claimed the study; the message names it. This system writes no records.
        OSError: the claim cannot be written.
    """
    check_writes_records("Writing a record")
    folder = results / "claims" / check_name(purpose) / f"study_id={check_name(study_id)}"
    empty_later = [folder, folder.parent, folder.parent.parent]
    if isinstance(results, Path) and not results.exists():
        empty_later.append(results)
    claim = _Claim(folder, lost)
    try:
        with claim:
            _stand_alone(claim, study_id, say)
            claim.hold()
            yield
    finally:
        for one in empty_later:
            if isinstance(one, Path):
                with suppress(OSError):
                    one.rmdir()


def holders(results: StoragePath, study_id: str) -> list[Holder]:
    """Return the processes that may run a study: of one elsewhere only the beats of its claim would tell, in a minute.

    Nothing is written, and what is no claim is left to whoever runs the study. Raises `NotRead`.
    """
    folder = results / "claims" / "run" / f"study_id={check_name(study_id)}"
    try:
        return [one for _, one in _claims(folder) if one.holding and (not one.here or _runs_here(one))]
    except NotRead:
        raise
    except TuneQatError:
        return []


class _Claim:
    """The claim of this process, rewritten by a thread until the block ends."""

    def __init__(self, folder: StoragePath, lost: Callable[[str], Any]) -> None:
        self.folder, self._lost = folder, lost
        self._watch = _Watch(lambda text: None)
        self.ours = _ourselves()
        self._path = folder / f"{self.ours.token}.json"
        self._stop = threading.Event()
        self._writing = threading.Lock()
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def __enter__(self) -> None:
        _HERE.add(self.ours.token)
        self._write()
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join(END_S)
        _HERE.discard(self.ours.token)
        if self._thread.is_alive():
            return  # storage does not answer, and would not remove the file either: it is that of a dead process soon
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def hold(self) -> None:
        with self._writing:
            self.ours = replace(self.ours, holding=True)
            self._write()

    def _keep(self) -> None:
        while not self._stop.wait(BEAT_S):
            # A refused write is reported where the record is written.
            with suppress(OSError, TuneQatError), self._writing:
                if not self._path.exists() and not self._may_return():
                    continue
                if self._stop.is_set():
                    return
                self.ours = replace(self.ours, beat=self.ours.beat + 1)
                self._write()

    def _may_return(self) -> bool:
        """Tell whether our claim, which is gone, may be written again; stop if another process has the study now."""
        if isinstance(self.folder, Path) and not self.folder.exists():
            return False  # the storage is gone with it: on an empty mount point a claim would be lost
        alive = [(self._watch.alive(other), other.holding) for _, other in _others(self)]
        if any(one or (one is None and holding) for one, holding in alive):
            self._stop.set()
            self._lost("another process took the study over while this one was suspended")
        return all(one is False for one, _ in alive)

    def _write(self) -> None:
        write_whole(self._path, json.dumps(asdict(self.ours)).encode())


class _Watch:
    """Observation of other claims: the first beat seen of each one from another host, and the time of that."""

    def __init__(self, say: Callable[[str], Any]) -> None:
        self._say = say
        self._first: dict[str, tuple[int, float]] = {}

    def alive(self, other: Holder) -> bool | None:
        """Return whether the process of a claim is alive; None while that is unknown."""
        if other.here:
            return _runs_here(other)
        if other.token not in self._first:
            self._first[other.token] = (other.beat, time.monotonic())
            self._say(f"waiting up to {SILENT_S:.0f} s to see whether {other} is still running")
        beat, seen = self._first[other.token]
        if other.beat != beat:
            return True
        return False if time.monotonic() - seen > SILENT_S else None


def _stand_alone(claim: _Claim, study_id: str, say: Callable[[str], Any]) -> None:
    """Wait until no other claim is left: remove those of dead processes, and raise `TuneQatError` for a live one."""
    watch = _Watch(say)
    while True:
        waiting = False
        for path, other in _others(claim):
            alive = watch.alive(other)
            # Of two that start at once, the one with the lower token waits until the other has given up.
            if alive and (other.holding or other.token < claim.ours.token):
                raise TuneQatError(
                    f"Study {study_id!r} is being run by {other}. Wait until it has ended, stop it, or use another "
                    "--results folder."
                )
            if alive is False:
                path.unlink(missing_ok=True)
            else:
                waiting = True
        if not waiting:
            return
        time.sleep(LOOK_S)


def _runs_here(other: Holder) -> bool:
    """Return whether a process of this machine is alive and has not ended its claim."""
    ended = other.pid == os.getpid() and other.token not in _HERE
    return not ended and _process(other.pid) == other.process


def _others(claim: _Claim) -> Iterator[tuple[StoragePath, Holder]]:
    return _claims(claim.folder, but=f"{claim.ours.token}.json")


def _claims(folder: StoragePath, but: str = "") -> Iterator[tuple[StoragePath, Holder]]:
    """Yield the claims in a folder, without the file `but`; `TuneQatError` for a file that is none."""
    for path in folder.glob("[!.]*.json"):
        if path.name == but:
            continue
        try:
            other = Holder(**json.loads(read_whole(path)))
        except FileNotFoundError:
            continue  # removed since it was listed
        except (TypeError, ValueError, RecursionError):
            raise TuneQatError(
                f"{path} does not say which process runs the study. If none does, remove the file."
            ) from None
        yield path, other


def _ourselves() -> Holder:
    return Holder(
        token=secrets.token_hex(8),
        pid=os.getpid(),
        machine=_machine(),
        process=_process(os.getpid()) or "",
        since=datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
    )


def _machine() -> str:
    """Return a hash of this host's identity, which holds a random number of its start and cannot be guessed."""
    return hashlib.sha256(_identity().encode()).hexdigest()[:16]


def _identity() -> str:
    """Return the host's name, its boot id and the namespace of process numbers: there a number means one process."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    namespace = Path("/proc/self/ns/pid")
    known = [boot.read_text().strip()] if boot.exists() else []
    return " ".join([socket.gethostname(), *known, *([os.readlink(namespace)] if namespace.exists() else [])])


def _process(pid: int) -> str | None:
    """Return the start time of the process with this number; None if there is none, "" if the time is unknown."""
    try:
        # Fields are counted after the name, which may contain blanks and brackets.
        state, *fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return None if state in DEAD else fields[18]
    except OSError:
        pass
    if Path("/proc/self/stat").exists():
        return None
    return "" if process_exists(pid) else None  # without /proc, its existence alone is known
