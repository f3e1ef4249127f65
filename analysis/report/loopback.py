"""HTTP on loopback for any number of clients in one thread: a slow one, or one that leaves, costs a socket at most."""

import asyncio
import gzip
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus

from tune_qat.config.system import most_open_files

LOOPBACK = "127.0.0.1"
BACKLOG = 1024
"""Clients that wait to be accepted; the system may allow fewer."""
MOST_CLIENTS = 512
"""Clients at once; a further one is turned away. At most half of the files that this process may open."""
ASK_S = 10.0
"""Seconds in which a client has to send its whole request."""
ANSWER_S = 60.0
"""Seconds in which a client has to take the whole answer."""
LONGEST_REQUEST = 16_384
PIECE = 65_536
"""Bytes of an answer that are handed over at once: no client has a copy of the page in memory."""


@dataclass(frozen=True, slots=True)
class Body:
    """Content of an answer, as it is and compressed."""

    kind: str
    plain: bytes
    packed: bytes | None = None

    @classmethod
    def of(cls, kind: str, text: str) -> "Body":
        """Return the body of a long text, which is compressed once for all clients."""
        plain = text.encode()
        return cls(kind, plain, gzip.compress(plain, compresslevel=6))


Find = Callable[[str], Body | None]
"""Function that returns what a path names, or None."""


class Server:
    """Server of what `find` returns for the path of a request, from its own thread until `close`."""

    def __init__(self, port: int, find: Find) -> None:
        """Serve at the port, where 0 takes any free one; raise `OSError` if it cannot be used."""
        self._find, self._clients = find, 0
        self._socket = socket.create_server((LOOPBACK, port), backlog=BACKLOG)
        self.port: int = self._socket.getsockname()[1]
        self._most = min(MOST_CLIENTS, most_open_files() // 2)
        self._loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening, and cut off the clients that are left."""
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        # What goes wrong with a client is the client's: it is told nothing, and neither is the user.
        self._loop.set_exception_handler(lambda loop, context: None)
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._listen())

    async def _listen(self) -> None:
        server = await asyncio.start_server(self._serve, sock=self._socket, limit=LONGEST_REQUEST, backlog=BACKLOG)
        await self._ended.wait()
        server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients += 1
        try:
            if self._clients <= self._most:
                async with asyncio.timeout(ASK_S):
                    head = await reader.readuntil(b"\r\n\r\n")
                async with asyncio.timeout(ANSWER_S):
                    for content in answer(head, self._find):
                        await _write(writer, content)
                    writer.close()
                    await writer.wait_closed()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client was too slow, asked for nothing or has left
        finally:
            self._clients -= 1
            writer.transport.abort()


async def _write(writer: asyncio.StreamWriter, content: bytes) -> None:
    whole = memoryview(content)
    for start in range(0, len(whole), PIECE):
        writer.write(whole[start : start + PIECE])
        await writer.drain()


def answer(head: bytes, find: Find) -> tuple[bytes, bytes]:
    """Return head and content of the answer to the head of a request."""
    line, *rest = head.decode("latin-1").split("\r\n")
    headers = {name.strip().lower(): value.strip() for name, _, value in (one.partition(":") for one in rest)}
    method, _, path = line.rpartition(" ")[0].partition(" ")
    # Protection against DNS rebinding: a page of another origin reaches this address under its own host name.
    if headers.get("host", "").partition(":")[0] not in (LOOPBACK, "localhost"):
        return _whole(HTTPStatus.FORBIDDEN, _said("This page is served only to this machine."), headers)
    if method not in ("GET", "HEAD"):
        return _whole(HTTPStatus.METHOD_NOT_ALLOWED, _said("This page is only read."), headers)
    body = find(path)
    status = HTTPStatus.OK if body else HTTPStatus.NOT_FOUND
    return _whole(status, body or _said("There is one page: /"), headers, content=method == "GET")


def _said(text: str) -> Body:
    return Body("text/plain", text.encode())


def _whole(status: HTTPStatus, body: Body, headers: Mapping[str, str], *, content: bool = True) -> tuple[bytes, bytes]:
    packs = body.packed is not None and _takes_gzip(headers.get("accept-encoding", ""))
    sent = body.packed if packs and body.packed is not None else body.plain
    lines = [
        f"HTTP/1.1 {status.value} {status.phrase}",
        f"Content-Type: {body.kind}; charset=utf-8",
        f"Content-Length: {len(sent)}",
        *(["Content-Encoding: gzip"] if packs else []),
        "Vary: Accept-Encoding",
        "Cache-Control: no-store",
        "Connection: close",
    ]
    return "\r\n".join([*lines, "", ""]).encode(), sent if content else b""


def _takes_gzip(accepted: str) -> bool:
    for coding in accepted.lower().replace(" ", "").split(","):
        name, _, weight = coding.partition(";q=")
        if name in ("gzip", "*"):
            with suppress(ValueError):
                return not weight or float(weight) > 0
    return False
