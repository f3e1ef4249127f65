"""Serves the page on loopback and builds it anew while the record grows."""

import hashlib
import threading
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

from analysis.report.page import empty_page, page
from tune_qat.config import TuneQatError, UsageError
from tune_qat.storage.paths import StoragePath

LOOPBACK = "127.0.0.1"
PAUSE_S = 2.0
"""Between two looks at the record."""
REST = 2.0
"""Times as long as building a page took, until the next is built: at most a third of a processor."""


FAILURES = 3
"""Looks in a row that must fail before a page that was good gives way to the error."""


class Watched:
    """The page of results that may be growing, and its version."""

    def __init__(self, paths: Sequence[StoragePath]) -> None:
        self._paths, self._seen, self._next, self._failures = paths, "", 0.0, 0
        self.html, self.version = "", "0"
        self.look()

    def look(self) -> None:
        """Build the page anew if the record has changed, and the last building is long enough ago."""
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
            # A study that is about to begin has no record yet; a damaged one is named, and looked at again. But a file
            # that was written anew while it was read is whole at the next look.
            self._failures += 1
            if self._failures < FAILURES and self._seen:
                return
            version, seen = _short_hash(str(error)), ""
            built = empty_page(str(error), live=version)
        else:
            self._failures = 0
        self.html, self.version, self._seen = built, version, seen
        now = time.monotonic()
        self._next = now + REST * (now - started)


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def fingerprint(paths: Sequence[StoragePath]) -> str:
    """A hash that changes with the record: names, sizes and times of its files; of remote ones names alone."""
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
        paths: results folders.
        port: of loopback; 0 takes any that is free.
        say: is told the address.

    Raises:
        TuneQatError: the port is taken.
        UsageError: as `analysis.open`.
    """
    watched = Watched(paths)
    try:
        server = ThreadingHTTPServer((LOOPBACK, port), _handler(watched))
    except OSError as error:
        raise TuneQatError(f"Port {port} of {LOOPBACK} cannot be used ({error}). Choose another with --port.") from None
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    say(f"http://{LOOPBACK}:{server.server_address[1]}/")
    try:
        while True:
            time.sleep(PAUSE_S)
            watched.look()
    except KeyboardInterrupt:
        return
    finally:
        server.shutdown()
        server.server_close()


def _handler(watched: Watched) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            # A page of another origin that names this address by its own host is told nothing.
            if self.headers.get("Host", "").partition(":")[0] not in (LOOPBACK, "localhost"):
                self._answer(HTTPStatus.FORBIDDEN, "text/plain", "This page is served to this machine alone.")
            elif self.path == "/":
                self._answer(HTTPStatus.OK, "text/html", watched.html)
            elif self.path == "/version":
                self._answer(HTTPStatus.OK, "text/plain", watched.version)
            else:
                self._answer(HTTPStatus.NOT_FOUND, "text/plain", "There is one page: /")

        def _answer(self, status: HTTPStatus, kind: str, text: str) -> None:
            body = text.encode()
            self.send_response(status)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing: a browser asks every few seconds."""

    return Handler
