"""One driver to a study: a claim beside the record says who it is, on any storage and whatever the clocks say.

Each driver writes a claim of its own, then looks at those of others, so that of two that come at once at least one sees
the other. Whether a holder is alive is asked of the operating system on its own host; from another host, by whether it
still rewrites its claim. Times are only shown, never compared.
"""

import json
import os
import secrets
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from tune_qat.config import TuneQatError
from tune_qat.results.layout import check_name
from tune_qat.storage.paths import StoragePath, write_whole

BEAT_S = 5.0
"""Seconds between a holder's rewrites of its claim."""
SILENT_S = 60.0
"""A claim from another host that has not been rewritten for so long is taken over."""
LOOK_S = 0.5
"""Seconds between looks at the claims of others."""


@dataclass(frozen=True, kw_only=True)
class Holder:
    """Who claims, as written into the file."""

    token: str
    host: str
    pid: int
    machine: str
    """What tells a host from another, and from itself after a restart or in another container."""
    process: str
    """What tells a process from a later one with the same number."""
    since: str
    holding: bool = False
    """False while it still looks at the claims of others."""
    beat: int = 0

    def __str__(self) -> str:
        return f"process {self.pid} on host {self.host}, since {self.since}"


@contextmanager
def claimed(
    results: StoragePath,
    study_id: str,
    purpose: str,
    *,
    say: Callable[[str], Any] = lambda text: None,
    lost: Callable[[str], Any] = lambda text: None,
) -> Iterator[None]:
    """The study is this process's alone, for as long as the block runs.

    Args:
        results: folder of the record.
        study_id: the study.
        purpose: what it is claimed for; claims for other purposes do not count.
        say: told what is waited for.
        lost: called, from another thread, if the claim was taken over while this process stood still.

    Raises:
        TuneQatError: another process holds it, named.
        OSError: the claim cannot be written.
    """
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


class _Claim:
    """Our claim, rewritten by a thread until the block ends."""

    def __init__(self, folder: StoragePath, lost: Callable[[str], Any]) -> None:
        self.folder, self._lost = folder, lost
        self.ours = _ourselves()
        self._path = folder / f"{self.ours.token}.json"
        self._stop = threading.Event()
        self._writing = threading.Lock()
        self._thread = threading.Thread(target=self._keep, daemon=True)

    def __enter__(self) -> None:
        self._write()
        self._thread.start()

    def __exit__(self, *error: object) -> None:
        self._stop.set()
        self._thread.join()
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def hold(self) -> None:
        with self._writing:
            self.ours = replace(self.ours, holding=True)
            self._write()

    def _keep(self) -> None:
        while not self._stop.wait(BEAT_S):
            # Storage that refuses for a while is the record's matter; a claim that is gone was taken over.
            with suppress(OSError), self._writing:
                if not self._path.exists():
                    self._lost("the study was taken over by another process while this one stood still")
                    return
                self.ours = replace(self.ours, beat=self.ours.beat + 1)
                self._write()

    def _write(self) -> None:
        write_whole(self._path, json.dumps(asdict(self.ours)).encode())


@dataclass
class _Watch:
    """Claims from other hosts: the first beat seen of each, and when."""

    say: Callable[[str], Any]
    first: dict[str, tuple[int, float]] = field(default_factory=dict)

    def alive(self, other: Holder) -> bool | None:
        """Whether it is; None while that cannot be told."""
        if other.machine == _machine():
            return _process(other.pid) == other.process
        if other.token not in self.first:
            self.first[other.token] = (other.beat, time.monotonic())
            self.say(f"waiting up to {SILENT_S:.0f} s to see whether {other} is still at it")
        beat, seen = self.first[other.token]
        if other.beat != beat:
            return True
        return False if time.monotonic() - seen > SILENT_S else None


def _stand_alone(claim: _Claim, study_id: str, say: Callable[[str], Any]) -> None:
    """Wait until no other claim is left; a dead one is removed, a live one that comes first is an error."""
    watch = _Watch(say)
    while True:
        waiting = False
        for path, other in _others(claim):
            alive = watch.alive(other)
            # Of two that look at the same time, the first by name goes on, and waits until the other has seen it.
            if alive and (other.holding or other.token < claim.ours.token):
                raise TuneQatError(
                    f"Study {study_id!r} is in the hands of {other}. Wait until it has ended or stop it; "
                    "or use another --results folder."
                )
            if alive is False:
                path.unlink(missing_ok=True)
            else:
                waiting = True
        if not waiting:
            return
        time.sleep(LOOK_S)


def _others(claim: _Claim) -> Iterator[tuple[StoragePath, Holder]]:
    for path in claim.folder.glob("[!.]*.json"):
        if path.name == f"{claim.ours.token}.json":
            continue
        try:
            other = Holder(**json.loads(path.read_bytes()))
        except FileNotFoundError:
            continue  # it has ended between the two looks
        except (TypeError, ValueError):
            raise TuneQatError(
                f"{path} says nothing of who holds the study. If nobody runs it, remove the file."
            ) from None
        yield path, other


def _ourselves() -> Holder:
    return Holder(
        token=secrets.token_hex(8),
        host=socket.gethostname(),
        pid=os.getpid(),
        machine=_machine(),
        process=_process(os.getpid()) or "",
        since=datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
    )


def _machine() -> str:
    """The host, its last start and the namespace of process numbers: where a number means the same process."""
    boot = Path("/proc/sys/kernel/random/boot_id")
    namespace = Path("/proc/self/ns/pid")
    known = [boot.read_text().strip()] if boot.exists() else []
    return " ".join([socket.gethostname(), *known, *([os.readlink(namespace)] if namespace.exists() else [])])


def _process(pid: int) -> str | None:
    """What tells the process with this number from a later one; None where there is none."""
    try:
        # The start time, behind the name, which may hold anything but the last closing bracket.
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except OSError:
        pass
    if Path("/proc/self/stat").exists():
        return None
    try:
        os.kill(pid, 0)  # a system without /proc: there is such a process, which is all that can be told
    except ProcessLookupError:
        return None
    except PermissionError:
        pass
    return ""
