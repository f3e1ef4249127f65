"""Server of the page on loopback; it rebuilds the page while the record grows."""

import hashlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from analysis.report.loopback import LOOPBACK, Body, Server
from analysis.report.now import Moment, moments
from analysis.report.page import content, empty_page, page, rendered_now
from tune_qat.config import TuneQatError, UsageError
from tune_qat.config.errors import is_ctrl_c
from tune_qat.storage.paths import StoragePath

PAUSE_S = 2.0
"""Seconds between two looks at the record."""
REST = 2.0
"""Pause after a look or a build, as a multiple of its time: at most a third of a processor is used by each."""
FAILURES = 3
"""Consecutive failed looks before an error replaces a good page."""


class Watched:
    """Page of results that may be growing, its version, and what runs now."""

    def __init__(self, paths: Sequence[StoragePath]) -> None:
        self._paths, self._seen, self._failures = paths, "", 0
        self._rests = {"now": 0.0, "page": 0.0}
        self._version, self._now = "", ""
        self._served: dict[str, Body] = {}
        self.look()

    def find(self, path: str) -> Body | None:
        """Return what a path of the server names: the page, its content alone, or what runs now."""
        return self._served.get(path)

    def look(self) -> None:
        """Find what runs now, and build the page again if the record has changed; each rests after it."""
        state, written = fingerprint(self._paths)
        if self._rested("now"):
            with self._resting("now"):
                self._now = rendered_now(self._moments(), written)
        if state != self._seen and self._rested("page"):
            with self._resting("page"):
                self._build(state)
        asked = json.dumps({"version": self._version, "now": self._now})
        self._served = {**self._served, "/now": Body("application/json", asked.encode())}

    def _rested(self, what: str) -> bool:
        return time.monotonic() >= self._rests[what]

    @contextmanager
    def _resting(self, what: str) -> Iterator[None]:
        began = time.monotonic()
        yield
        ended = time.monotonic()
        self._rests[what] = ended + REST * (ended - began)

    def _moments(self) -> list[Moment]:
        try:
            return moments(self._paths)
        except UsageError:
            raise
        except TuneQatError:
            return []  # the page says why

    def _build(self, state: str) -> None:
        version, seen = _short_hash(state), state
        try:
            built = page(self._paths, live=version, now=self._now)
        except UsageError:
            raise
        except TuneQatError as error:
            # A study that is about to begin has no record yet, and a damaged file may be replaced: the page shows the
            # error, and the next look tries again. A file that was rewritten while it was read is whole by then.
            self._failures += 1
            if self._failures < FAILURES and self._seen:
                return
            version, seen = _short_hash(str(error)), ""
            built = empty_page(str(error), live=version, now=self._now)
        else:
            self._failures = 0
        self._served = {"/": Body.of("text/html", built), "/content": Body.of("text/html", content(built))}
        self._seen, self._version = seen, version


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def fingerprint(paths: Sequence[StoragePath]) -> tuple[str, datetime | None]:
    """Hash the names, sizes and times of the record's files, to notice changes, and find when the last was written.

    Of remote files there are names alone, and no time.
    """
    digest, last = hashlib.sha256(), 0.0
    for path in paths:
        for file in sorted(path.glob("*/study_id=*/*.parquet"), key=str):
            digest.update(str(file).encode())
            if isinstance(file, Path):
                try:
                    stat = file.stat()
                except FileNotFoundError:  # merged by `compact`, or written anew, since it was listed
                    continue
                digest.update(f"{stat.st_size} {stat.st_mtime_ns}".encode())
                last = max(last, stat.st_mtime)
    return digest.hexdigest(), datetime.fromtimestamp(last, UTC) if last else None


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
    except (KeyboardInterrupt, RuntimeError) as stopped:
        if not is_ctrl_c(stopped):
            raise
    finally:
        server.close()
