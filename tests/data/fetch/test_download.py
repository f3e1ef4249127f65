"""A download from a server that breaks, lies or has moved: whole and right in the end, or refused with the reason."""

import datetime
import hashlib
import ipaddress
import socket
import ssl
from http.server import ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from tests.data.fetch import site as behaviour
from tests.data.fetch.site import Site, serving
from tune_qat.config import TuneQatError
from tune_qat.data.fetch import Archive
from tune_qat.data.fetch.download import Downloader
from tune_qat.data.fetch.part_file import Begun, PartFile

BODY = np.random.default_rng(0).bytes(700_000)
"""Of several chunks, each other than all others."""
SUM = f"md5:{hashlib.md5(BODY).hexdigest()}"


class Loaded:
    """A file of the site downloaded, time after time, into one folder."""

    def __init__(self, site: Site, folder: Path) -> None:
        site.files["/file.zip"] = BODY
        self.site, self.folder, self.notes = site, folder, list[str]()
        self.part = PartFile(folder / "file.zip.part")

    def __call__(self, *, url: str = "", waits: int = 3, timeout: float = 5.0, **archive: object) -> bytes:
        given = {"file": "file.zip", "gives": "x", "size": len(BODY), "unpacked": len(BODY), "checksum": SUM, **archive}
        target = self.folder / "file.zip"
        downloader = Downloader(
            Archive(**given),  # type: ignore[arg-type]
            self.part.path,
            told=lambda file, done, total: None,
            said=self.notes.append,
            waits=[0.0] * waits,
            timeout=timeout,
        )
        downloader(url or f"{self.site.url}/file.zip", str(target))
        return target.read_bytes()


@pytest.fixture
def load(site: Site, tmp_path: Path) -> Loaded:
    return Loaded(site, tmp_path)


def test_a_whole_file_takes_one_request_that_asks_for_no_encoding(load: Loaded, site: Site) -> None:
    assert load() == BODY
    assert [headers["Accept-Encoding"] for _, headers in site.asked] == ["identity"]
    assert site.ranges == [None] and load.notes == []


def test_a_connection_that_breaks_again_and_again_is_gone_on_with(load: Loaded, site: Site) -> None:
    site.script = [behaviour.cut(100_000)] * 6  # more often than there are attempts in a row
    assert load(waits=2) == BODY
    assert site.ranges == [None, *(f"bytes={n}00000-" for n in range(1, 7))]
    assert {headers["If-Range"] for _, headers in site.asked[1:]} == {site.tag}
    assert len(load.notes) == 6


def test_another_run_goes_on_where_one_was_cut_off(load: Loaded, site: Site) -> None:
    site.script = [behaviour.cut(300_000), behaviour.status(503)]
    with pytest.raises(TuneQatError, match="503"):
        load(waits=1)
    assert load.part.size == 300_000
    assert load() == BODY
    assert site.ranges[-1] == "bytes=300000-"


def test_what_has_arrived_whole_is_asked_for_no_more(load: Loaded, site: Site) -> None:
    load.part.begin(Begun(url=f"{site.url}/file.zip", validator=site.tag, total=len(BODY)))
    load.part.path.write_bytes(BODY)
    assert load() == BODY and site.asked == []


def test_a_file_that_has_changed_meanwhile_is_taken_from_its_start(load: Loaded, site: Site) -> None:
    load.part.begin(Begun(url=f"{site.url}/file.zip", validator='"v0"', total=len(BODY)))
    load.part.path.write_bytes(bytes(1000))
    assert load(checksum="") == BODY
    assert site.ranges == ["bytes=1000-"]


@pytest.mark.parametrize("step", [behaviour.whole, behaviour.another_range, behaviour.status(416)])
def test_a_server_that_does_not_go_on_is_asked_from_the_start(load: Loaded, site: Site, step: behaviour.Step) -> None:
    site.script = [behaviour.cut(200_000), step]
    assert load() == BODY
    assert site.ranges[1] == "bytes=200000-" and site.ranges[2:] in ([], [None])


@pytest.mark.parametrize(("checksum", "second"), [(SUM, "bytes=100000-"), ("", None)])
def test_without_a_sign_that_it_is_the_same_file_only_a_checksum_joins_pieces(
    load: Loaded, site: Site, checksum: str, second: str | None
) -> None:
    site.tag, site.script = "", [behaviour.cut(100_000)]
    assert load(checksum=checksum) == BODY
    assert site.ranges == [None, second]


def test_a_short_file_without_a_length_is_asked_for_again(load: Loaded, site: Site) -> None:
    site.script = [behaviour.truncated(400_000)]
    assert load() == BODY
    assert site.ranges == [None, "bytes=400000-"]


def test_a_server_that_always_sends_too_little_is_given_up(load: Loaded, site: Site) -> None:
    site.script = [behaviour.truncated(1000)] * 9
    with pytest.raises(TuneQatError, match="ended early"):
        load()
    assert len(site.asked) == 4


def test_busy_servers_are_asked_again_and_may_say_when(load: Loaded, site: Site) -> None:
    site.script = [behaviour.status(503, Retry_After="0"), behaviour.status(429)]
    assert load() == BODY
    assert [note.split(": ")[1] for note in load.notes] == [
        "the server answers 503 Service Unavailable; again in 0 s",
        "the server answers 429 Too Many Requests; again in 0 s",
    ]


def test_a_file_that_is_not_there_is_asked_for_once(load: Loaded, site: Site) -> None:
    with pytest.raises(TuneQatError, match="the server answers 404 Not Found"):
        load(url=f"{site.url}/gone.zip")
    assert len(site.asked) == 1


def test_a_server_that_says_another_size_is_refused_before_a_byte_is_written(load: Loaded, site: Site) -> None:
    site.files["/file.zip"] = BODY + b"more"
    with pytest.raises(TuneQatError, match="the server has 700,004 bytes, but the file has 700,000"):
        load()
    assert load.part.size == 0


@pytest.mark.parametrize("exact", [True, False])
def test_a_server_that_sends_more_than_there_can_be_is_refused(load: Loaded, site: Site, exact: bool) -> None:
    site.files["/file.zip"], site.script = BODY * 3, [behaviour.truncated(3 * len(BODY))]
    with pytest.raises(TuneQatError, match=f"the server sends more than {'700.0 kB' if exact else '1.4 MB'}"):
        load(exact=exact)
    assert list(load.folder.iterdir()) == []


def test_a_server_that_does_not_begin_is_asked_again(load: Loaded, site: Site) -> None:
    site.script = [behaviour.slow(1.0)]
    assert load(timeout=0.2) == BODY
    assert load.notes[0] == "file.zip: no answer in time; again in 0 s"


def test_a_server_that_takes_the_archive_for_an_encoding_is_not_decoded(load: Loaded, site: Site) -> None:
    site.script = [lambda handler, body: handler.answer(200, body, Content_Encoding="gzip")]
    assert load() == BODY


def test_no_server_at_all_is_said_so(load: Loaded) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(TuneQatError, match="refused"):
        load(url=f"http://127.0.0.1:{port}/file.zip", waits=1)
    assert len(load.notes) == 1


def test_an_unknown_host_is_not_waited_for(load: Loaded) -> None:
    with pytest.raises(TuneQatError, match="the name of the host is not known here"):
        load(url="http://no-such-host.invalid/file.zip")
    assert load.notes == []


def test_redirects_are_followed_and_gone_on_with(load: Loaded, site: Site) -> None:
    site.files |= {"/old": b"", "/older": b""}
    there = [behaviour.redirect("/old"), behaviour.redirect(f"{site.url}/file.zip")]
    site.script = [*there, behaviour.cut(100_000), *there]
    assert load(url=f"{site.url}/older") == BODY
    assert [path for path, _ in site.asked] == ["/older", "/old", "/file.zip"] * 2
    assert site.ranges[-1] == "bytes=100000-"


@pytest.mark.parametrize(
    ("to", "why"),
    [("ftp://127.0.0.1/file.zip", "redirects from http to ftp"), ("file:///etc/passwd", "redirects from http to file"),
     ("/file.zip", "Exceeded 10 redirects")],
)  # fmt: skip
def test_redirects_elsewhere_or_without_end_are_refused(load: Loaded, site: Site, to: str, why: str) -> None:
    site.script = [behaviour.redirect(to)] * 12
    with pytest.raises(TuneQatError, match=why):
        load()
    assert load.part.size == 0


def test_https_is_never_left_for_http_and_needs_a_certificate(
    load: Loaded, site: Site, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    certificate = tmp_path_factory.mktemp("tls") / "certificate.pem"
    context = _own_certificate(certificate)

    def wrap(server: ThreadingHTTPServer) -> None:
        server.socket = context.wrap_socket(server.socket, server_side=True)

    safe = Site()
    safe.files["/file.zip"] = BODY
    with serving(safe, wrap):
        with pytest.raises(TuneQatError, match="its certificate is not accepted"):
            load(url=f"{safe.url}/file.zip")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
        assert load(url=f"{safe.url}/file.zip") == BODY
        load.part.discard()
        safe.script = [behaviour.redirect(f"{site.url}/file.zip")]
        with pytest.raises(TuneQatError, match="redirects from https to http, which is not followed"):
            load(url=f"{safe.url}/file.zip")
    assert site.asked == []


def _own_certificate(path: Path) -> ssl.SSLContext:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "loopback")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    path.write_bytes(private + made.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context
