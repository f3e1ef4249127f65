"""The served page under clients that ask slowly, not at all, or all at once: bounded, and without a word."""

import gzip
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from analysis.report import loopback, server

HOST = b"Host: 127.0.0.1\r\n"


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    """Port of `tune-qat report --live` over a record that is not there yet."""
    monkeypatch.setattr(loopback, "ASK_S", 0.5)
    ready, over, said = threading.Event(), threading.Event(), list[str]()

    def sleep(seconds: float) -> None:
        if over.wait(seconds):
            raise KeyboardInterrupt

    def say(address: str) -> None:
        said.append(address)
        ready.set()

    monkeypatch.setattr("analysis.report.server.time.sleep", sleep)
    thread = threading.Thread(target=server.serve, args=([tmp_path / "results"], 0, say))
    thread.start()
    assert ready.wait(30)
    yield int(said[0].rstrip("/").rpartition(":")[2])
    over.set()
    thread.join(30)
    assert not thread.is_alive()


def test_ctrl_c_while_the_record_is_read_ends_it_in_peace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """DuckDB raises an error of its own then; any other error of its kind is one."""
    said = ["Query interrupted", "another"]

    def look(watched: server.Watched) -> None:
        raise RuntimeError(said.pop(0))

    def begun(address: str) -> None:
        monkeypatch.setattr(server.Watched, "look", look)

    monkeypatch.setattr("analysis.report.server.time.sleep", lambda seconds: None)
    server.serve([tmp_path / "results"], 0, begun)
    monkeypatch.undo()
    monkeypatch.setattr("analysis.report.server.time.sleep", lambda seconds: None)
    with pytest.raises(RuntimeError, match="another"):
        server.serve([tmp_path / "results"], 0, begun)


def ask(port: int, request: bytes) -> tuple[bytes, bytes]:
    """Head and content of the answer."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(request)
        got = b"".join(iter(lambda: client.recv(1 << 16), b""))
    head, _, content = got.partition(b"\r\n\r\n")
    return head, content


def page(port: int, *headers: bytes) -> tuple[bytes, bytes]:
    return ask(port, b"GET / HTTP/1.1\r\n" + HOST + b"".join(headers) + b"Connection: close\r\n\r\n")


def test_requests_that_do_not_end_hold_no_threads_and_are_cut_off(port: int) -> None:
    before = threading.active_count()
    clients = [socket.create_connection(("127.0.0.1", port), timeout=20) for _ in range(50)]
    for client in clients:
        client.sendall(b"GET / HTTP/1.1\r\n")
    assert page(port)[0].split()[1] == b"200", "others are answered meanwhile"
    assert threading.active_count() <= before + 1
    began = time.monotonic()
    while time.monotonic() - began < 3 and any(not _ended(client) for client in clients):
        clients[0].sendall(b"X")  # a client that goes on a letter at a time has no more time than the others
        time.sleep(0.1)
    assert time.monotonic() - began < 3
    for client in clients:
        client.close()


def _ended(client: socket.socket) -> bool:
    client.setblocking(False)
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    except OSError:
        return True
    finally:
        client.settimeout(20)


def test_clients_that_leave_are_not_reported(port: int, capfd: pytest.CaptureFixture[str]) -> None:
    for _ in range(5):
        client = socket.create_connection(("127.0.0.1", port), timeout=20)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")  # it leaves with a reset
        client.sendall(b"GET / HTTP/1.1\r\n" + HOST + b"\r\n")
        client.recv(10)
        client.close()
    assert page(port)[0].split()[1] == b"200"
    assert capfd.readouterr() == ("", "")


def test_many_at_once_all_get_the_page(port: int) -> None:
    packed = page(port, b"Accept-Encoding: gzip\r\n")
    with ThreadPoolExecutor(60) as clients:
        answers = list(clients.map(lambda _: page(port, b"Accept-Encoding: gzip\r\n"), range(60)))
    assert set(answers) == {packed}


@pytest.mark.parametrize(
    ("accepted", "packed"),
    [("gzip, deflate, br", True), ("*", True), ("", False), ("br", False), ("gzip;q=0", False), ("gzip;q=0.5", True)],
)
def test_a_page_is_compressed_for_those_who_take_it(port: int, accepted: str, packed: bool) -> None:
    head, content = page(port, f"Accept-Encoding: {accepted}\r\n".encode() if accepted else b"")
    assert (b"Content-Encoding: gzip" in head) == packed
    assert f"Content-Length: {len(content)}".encode() in head
    plain = page(port)[1]
    assert (gzip.decompress(content) if packed else content) == plain
    assert plain.startswith(b"<!doctype html>") and (not packed or len(content) < len(plain) / 2)


def test_a_newer_page_is_sent_without_its_scripts(port: int) -> None:
    content = gzip.decompress(ask(port, b"GET /content HTTP/1.1\r\n" + HOST + b"Accept-Encoding: gzip\r\n\r\n")[1])
    whole = page(port)[1]
    assert whole.startswith(content) and b'<div id="page" data-live="' in content and b"plotly.js v" not in content
    now = json.loads(ask(port, b"GET /now HTTP/1.1\r\n" + HOST + b"\r\n")[1])
    assert f'data-live="{now["version"]}"'.encode() in content and now["now"] in content.decode()


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /now HTTP/1.1\r\n" + HOST, b"200"),
        (b"HEAD / HTTP/1.1\r\n" + HOST, b"200"),
        (b"GET /../secret HTTP/1.1\r\n" + HOST, b"404"),
        (b"GET / HTTP/1.1\r\nHost: elsewhere.example\r\n", b"403"),
        (b"GET / HTTP/1.0\r\n", b"403"),
        (b"POST / HTTP/1.1\r\n" + HOST, b"405"),
        (b"\xff\xfe\r\n" + HOST, b"405"),
    ],
)
def test_nothing_but_the_page_is_served(port: int, request_: bytes, status: bytes) -> None:
    head, content = ask(port, request_ + b"\r\n")
    assert head.split()[1] == status
    assert b"no-store" in head and (content != b"") == (not request_.startswith(b"HEAD"))


def test_a_request_without_end_is_cut_off_by_its_length(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        try:
            for _ in range(200):
                client.sendall(b"X" * 1024)
            assert client.recv(1) == b""
        except ConnectionError:
            pass
