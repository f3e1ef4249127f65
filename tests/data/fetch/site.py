"""An HTTP server on loopback that serves a few files, and misbehaves as a test says."""

import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Site:
    """What a server has, what it does with the next requests (then it is honest), and what it was asked."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.script: list[Step] = []
        self.asked: list[tuple[str, Message]] = []
        self.tag = '"v1"'
        """ETag of every file; none if empty."""
        self.url = ""

    @property
    def ranges(self) -> list[str | None]:
        return [headers["Range"] for _, headers in self.asked]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: Site

    def do_GET(self) -> None:
        site = self.site
        site.asked.append((self.path, self.headers))
        body = site.files.get(self.path)
        if body is None:
            self.answer(404)
        else:
            (site.script.pop(0) if site.script else honest)(self, body)

    def answer(self, status: int, body: bytes = b"", /, **headers: str) -> None:
        """Answers with a length, unless one is given; `_` in names of headers is `-`."""
        self.send_response(status)
        for name, value in ({"Content_Length": str(len(body))} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        if self.site.tag:
            self.send_header("ETag", self.site.tag)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


Step = Callable[[Handler, bytes], None]


def honest(handler: Handler, body: bytes) -> None:
    """Ranges are served, if the file is still the one that If-Range names."""
    asked = re.fullmatch(r"bytes=(\d+)-", handler.headers["Range"] or "")
    if asked is None or handler.headers["If-Range"] not in (None, handler.site.tag):
        handler.answer(200, body)
    elif int(asked[1]) >= len(body):
        handler.answer(416, Content_Range=f"bytes */{len(body)}")
    else:
        first = int(asked[1])
        handler.answer(206, body[first:], Content_Range=f"bytes {first}-{len(body) - 1}/{len(body)}")


def cut(bytes_: int) -> Step:
    """The connection breaks after so many bytes of a body that was said to be longer."""

    def step(handler: Handler, body: bytes) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-", handler.headers["Range"] or "")
        first = int(asked[1]) if asked else 0
        place = {"Content_Range": f"bytes {first}-{len(body) - 1}/{len(body)}"} if first else {}
        handler.answer(206 if first else 200, body[first:][:bytes_], Content_Length=str(len(body) - first), **place)
        handler.close_connection = True

    return step


def truncated(bytes_: int) -> Step:
    """As of an old server that says no length, and whose file is shorter."""

    def step(handler: Handler, body: bytes) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(body[:bytes_])
        handler.close_connection = True

    return step


def whole(handler: Handler, body: bytes) -> None:
    """Range is ignored."""
    handler.answer(200, body)


def another_range(handler: Handler, body: bytes) -> None:
    handler.answer(206, body[3:], Content_Range=f"bytes 3-{len(body) - 1}/{len(body)}")


def wrong_bytes(handler: Handler, body: bytes) -> None:
    handler.answer(200, bytes(len(body)))


def status(number: int, **headers: Any) -> Step:
    return lambda handler, body: handler.answer(number, **headers)


def slow(seconds: float) -> Step:
    """Nothing comes for so long."""

    def step(handler: Handler, body: bytes) -> None:
        time.sleep(seconds)
        handler.close_connection = True

    return step


def redirect(to: str) -> Step:
    return lambda handler, body: handler.answer(302, Location=to)


class Server(ThreadingHTTPServer):
    """A server that does not mind clients that go away."""

    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


@contextmanager
def serving(site: Site, wrap: Callable[[ThreadingHTTPServer], None] | None = None) -> Iterator[Site]:
    """Serves a site until the block ends; `wrap` makes its socket one of TLS."""
    server = Server(("127.0.0.1", 0), type("Handler", (Handler,), {"site": site}))
    if wrap:
        wrap(server)
    site.url = f"{'https' if wrap else 'http'}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.005}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
