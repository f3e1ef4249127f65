"""Server of the page on loopback; it rebuilds the page while the record grows."""

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
"""Seconds between two looks at the record."""
REST = 2.0
"""Pause before the next build, as a multiple of the last one's time: at most a third of a processor is used."""


FAILURES = 3
"""Consecutive failed looks before an error replaces a good page."""


class Watched:
    """Page of results that may be growing, and its version."""

    def __init__(self, paths: Sequence[StoragePath]) -> None:
        self._paths, self._seen, self._next, self._failures = paths, "", 0.0, 0
        self.html, self.version = "", "0"
        self.look()

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
        self.html, self.version, self._seen = built, version, seen
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
            # Protection against DNS rebinding: a page of another origin reaches this address under its own host name.
            if self.headers.get("Host", "").partition(":")[0] not in (LOOPBACK, "localhost"):
                self._answer(HTTPStatus.FORBIDDEN, "text/plain", "This page is served only to this machine.")
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
