"""Server of the page on loopback; it rebuilds the page while the record grows."""

import hashlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from analysis.report.loopback import LOOPBACK, Body, Server
from analysis.report.page import empty_page, page
from tune_qat.config import TuneQatError, UsageError
from tune_qat.storage.paths import StoragePath

PAUSE_S = 2.0
"""Seconds between two looks at the record."""
REST = 2.0
"""Pause before the next build, as a multiple of the last one's time: at most a third of a processor is used."""


FAILURES = 3
"""Consecutive failed looks before an error replaces a good page."""


class Watched:
    """Page of results that may be growing, and its version."""

    def __init__(self, paths: Sequence[StoragePath]) -> None:
        self._paths, self._seen, self._next, self._failures = paths, "", 0.0, 0
        self._served: dict[str, Body] = {}
        self.look()

    def find(self, path: str) -> Body | None:
        """Return what a path of the server names: the page, or its version."""
        return self._served.get(path)

    def look(self) -> None:
        """Build the page again if the record has changed and the last build is long enough ago."""
        state = fingerprint(self._paths)
        started = time.monotonic()
        if state == self._seen or started < self._next:
            return
        version, seen = _short_hash(state), state
        try:
            built = page(self._paths, live=version)
        except UsageError:
            raise
        except TuneQatError as error:
            # A study that is about to begin has no record yet, and a damaged file may be replaced: the page shows the
            # error, and the next look tries again. A file that was rewritten while it was read is whole by then.
            self._failures += 1
            if self._failures < FAILURES and self._seen:
                return
            version, seen = _short_hash(str(error)), ""
            built = empty_page(str(error), live=version)
        else:
            self._failures = 0
        self._served = {"/": Body.of("text/html", built), "/version": Body("text/plain", version.encode())}
        self._seen = seen
        now = time.monotonic()
        self._next = now + REST * (now - started)


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def fingerprint(paths: Sequence[StoragePath]) -> str:
    """Hash the names, sizes and times of the record's files, to notice changes; of remote files names alone."""
    digest = hashlib.sha256()
    for path in paths:
        for file in sorted(path.glob("*/study_id=*/*.parquet"), key=str):
            digest.update(str(file).encode())
            if isinstance(file, Path):
                try:
                    stat = file.stat()
                except FileNotFoundError:  # merged by `compact`, or written anew, since it was listed
                    continue
                digest.update(f"{stat.st_size} {stat.st_mtime_ns}".encode())
    return digest.hexdigest()


def serve(paths: Sequence[StoragePath], port: int, say: Callable[[str], None]) -> None:
    """Serve the page until Ctrl-C.

    Args:
        paths: results folders or URIs.
        port: port on loopback; 0 takes any free one.
        say: function that gets the address of the page.

    Raises:
        TuneQatError: the port is taken.
        UsageError: as for `analysis.open`.
    """
    watched = Watched(paths)
    try:
        server = Server(port, watched.find)
    except OSError as error:
        raise TuneQatError(f"Port {port} of {LOOPBACK} cannot be used ({error}). Choose another with --port.") from None
    say(f"http://{LOOPBACK}:{server.port}/")
    try:
        while True:
            time.sleep(PAUSE_S)
            watched.look()
    except KeyboardInterrupt:
        return
    finally:
        server.close()
