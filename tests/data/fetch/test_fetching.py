"""Data sets fetched from a mirror on loopback: read by the project's readers, or refused with nothing half written."""

import gzip
import hashlib
import io
import os
import resource
import shutil
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.data.fetch import site as behaviour
from tests.data.fetch.site import Site
from tests.data.fetch.tiny_sources import offer
from tune_qat import data
from tune_qat.config import TuneQatError, UsageError
from tune_qat.data.fetch import SOURCES, Source
from tune_qat.data.fetch.fetching import check_mirror, fetch
from tune_qat.data.fetch.plan import plan_of
from tune_qat.data.fetch.published import with_published
from tune_qat.data.fetch.verifying import verify
from tune_qat.data.table import DATASETS

Offer = Callable[..., Source]


@pytest.fixture
def offered(site: Site, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Offer:
    """Makes a tiny data set that the site serves."""
    return lambda name, **how: offer(site, name, tmp_path_factory.mktemp(name), monkeypatch, **how)


def fetched(source: Source, folder: Path, mirror: str = "", told: Any = None) -> list[str]:
    """Fetches what is missing; returns what was said."""
    notes: list[str] = []
    nothing = lambda file, done, total: None  # noqa: E731
    fetch(plan_of(source, folder), mirror=mirror, told=told or nothing, said=notes.append, waits=[0.0])
    return notes


def files(folder: Path) -> set[str]:
    """All files but the sums and the lock."""
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {name for name in found if not name.endswith((".sha256", "/lock"))}


@pytest.mark.parametrize("name", SOURCES)
def test_what_is_fetched_is_whole_and_is_fetched_once(offered: Offer, site: Site, tmp_path: Path, name: str) -> None:
    source, folder = offered(name), tmp_path / "new" / "data"
    fetched(source, folder, mirror=f"{site.url}/")
    found = {path for path, _ in site.asked}
    assert found == {f"/{name}/{one.file}" for one in source.archives}
    verdict = verify(source, folder)
    counts = " + ".join(map(str, source.samples))
    assert verdict.whole and verdict.text.startswith(f"whole: {counts} ") and "as they were fetched" in verdict.text
    assert all((folder / one.gives).exists() for one in source.archives)
    assert not any(part.startswith(("__MACOSX", ".tune-qat")) for part in files(folder))
    site.asked.clear()
    fetched(source, folder, mirror=site.url)
    assert site.asked == [] and data.check_present(name, data_dir=folder) == folder


def test_sums_are_those_that_sha256sum_checks(offered: Offer, tmp_path: Path) -> None:
    fetched(offered("div2k"), tmp_path)
    lines = (tmp_path / ".tune-qat/div2k/DIV2K_valid_HR.zip.sha256").read_text().splitlines()
    assert [line[64:] for line in lines] == ["  DIV2K_valid_HR/0801.png", "  DIV2K_valid_HR/0802.png"]


def test_a_stop_in_the_middle_is_gone_on_from(offered: Offer, site: Site, tmp_path: Path) -> None:
    source = offered("mnist")
    site.script = [behaviour.cut(1000)]

    def stop(file: str, done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetched(source, tmp_path, told=stop)
    begun = ".tune-qat/mnist/train-images-idx3-ubyte.gz.part"
    assert files(tmp_path) == {begun, f"{begun}.json"}
    (tmp_path / ".tune-qat/mnist/tmpkilled").touch()
    fetched(source, tmp_path)
    assert site.ranges[1] == "bytes=1000-" and verify(source, tmp_path).whole
    assert len(files(tmp_path)) == 4


def test_a_process_that_dies_between_sums_and_files_unpacks_again(
    offered: Offer, site: Site, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = offered("div2k")
    move = os.rename

    def die(path: Any, target: Any) -> None:
        if Path(target) == tmp_path / "DIV2K_train_HR":
            raise KeyboardInterrupt
        move(path, target)

    with monkeypatch.context() as patched:
        patched.setattr(os, "rename", die)
        with pytest.raises(KeyboardInterrupt):
            fetched(source, tmp_path)
    assert files(tmp_path) == {".tune-qat/div2k/DIV2K_train_HR.zip"}
    fetched(source, tmp_path)
    assert len(site.asked) == 2 and verify(source, tmp_path).whole


def test_other_bytes_are_refused_and_not_kept(offered: Offer, site: Site, tmp_path: Path) -> None:
    source = offered("cifar10")
    site.script = [behaviour.wrong_bytes]
    with pytest.raises(TuneQatError) as caught:
        fetched(source, tmp_path, mirror=site.url)
    text = str(caught.value)
    assert f"{site.url}/cifar10/cifar-10-python.tar.gz: these are not the publisher's bytes: expected md5:" in text
    assert f"put it by hand at {tmp_path}/.tune-qat/cifar10/cifar-10-python.tar.gz" in text
    assert DATASETS["cifar10"].layout in text
    assert files(tmp_path) == set()
    fetched(source, tmp_path, mirror=site.url)


def test_pieces_that_do_not_belong_together_are_fetched_once_more(offered: Offer, site: Site, tmp_path: Path) -> None:
    source, site.tag = offered("cifar10"), ""
    work = tmp_path / ".tune-qat/cifar10"
    work.mkdir(parents=True)
    (work / "cifar-10-python.tar.gz.part").write_bytes(bytes(1000))
    assert "do not belong together" in fetched(source, tmp_path)[0]
    assert site.ranges == ["bytes=1000-", None] and verify(source, tmp_path).whole


def test_the_next_address_of_a_publisher_is_asked(offered: Offer, site: Site, tmp_path: Path) -> None:
    source = offered("cifar10")
    (archive,) = source.archives
    source = replace(source, archives=(replace(archive, urls=(f"{site.url}/gone", *archive.urls)),))
    fetched(source, tmp_path)
    assert [path for path, _ in site.asked] == ["/gone", "/cifar10/cifar-10-python.tar.gz"]


def test_an_archive_put_there_by_hand_is_used(offered: Offer, site: Site, tmp_path: Path) -> None:
    source = offered("cifar10")
    (tmp_path / ".tune-qat/cifar10").mkdir(parents=True)
    by_hand = site.files["/cifar10/cifar-10-python.tar.gz"]
    (tmp_path / ".tune-qat/cifar10/cifar-10-python.tar.gz").write_bytes(by_hand)
    fetched(source, tmp_path)
    assert site.asked == [] and verify(source, tmp_path).whole


@pytest.mark.parametrize(
    ("members", "why"),
    [
        ({"../../climbed": b"x"}, "would be written elsewhere"),
        ({"elsewhere/a.png": b"x"}, "has no DIV2K_train_HR in it, but elsewhere"),
        ({"DIV2K_train_HR/zeros": bytes(9_000_000)}, "holds more than"),
        (None, "damaged or no archive"),
    ],
)
def test_unsafe_archives_leave_nothing(
    offered: Offer, site: Site, tmp_path: Path, members: dict[str, bytes] | None, why: str
) -> None:
    source, bad = offered("div2k", checked=False), io.BytesIO()
    if members:
        with zipfile.ZipFile(bad, "w", zipfile.ZIP_DEFLATED) as packed:
            for name, content in members.items():
                packed.writestr(name, content)
    url = "/div2k/DIV2K_train_HR.zip"
    good = site.files[url]
    site.files[url] = bad.getvalue() or b"<html>Log in</html>"
    with pytest.raises(TuneQatError, match=f"(?s)div2k was not fetched: .*{why}.*Nothing of it is left"):
        fetched(source, tmp_path / "data")
    assert files(tmp_path) == set()
    site.files[url] = good
    fetched(source, tmp_path / "data")
    assert verify(source, tmp_path / "data").whole


@pytest.fixture
def largest_file() -> Iterator[Callable[[int], None]]:
    """Limits the size of files that this process writes: beyond it a write fails, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda size: resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("unpacking", [False, True])
def test_a_disk_that_fills_up_half_way(
    offered: Offer, site: Site, tmp_path: Path, largest_file: Callable[[int], None], unpacking: bool
) -> None:
    source, room = offered("mnist"), 50_000
    first, *others = source.archives
    if unpacking:  # black images: a small archive of a large file
        content = gzip.decompress(site.files[f"/mnist/{first.file}"])
        packed = gzip.compress(content[:16] + bytes(len(content) - 16))
        site.files[f"/mnist/{first.file}"] = packed
        first = replace(first, size=len(packed), checksum=f"md5:{hashlib.md5(packed).hexdigest()}")
        source = replace(source, archives=(first, *others))
    assert (first.size < 1000 if unpacking else first.size > room) and first.unpacked > room
    largest_file(room)
    with pytest.raises(TuneQatError, match="(?s)is full .*or has a limit.*the same command goes on"):
        fetched(source, tmp_path)
    largest_file(resource.RLIM_INFINITY)
    assert not (tmp_path / "MNIST").exists()
    kept = tmp_path / ".tune-qat/mnist" / (first.file if unpacking else f"{first.file}.part")
    assert kept.stat().st_size == (first.size if unpacking else room)
    assert not list(kept.parent.glob("*.unpacked")) and not list(kept.parent.glob("tmp*"))
    site.asked.clear()
    fetched(source, tmp_path)
    assert site.ranges == [None] * 3 if unpacking else site.ranges == [f"bytes={room}-", None, None, None]
    assert verify(source, tmp_path).whole


def test_a_disk_with_too_little_room_is_said_before(offered: Offer, tmp_path: Path) -> None:
    source = offered("cifar10")
    (archive,) = source.archives
    large = replace(source, archives=(replace(archive, unpacked=10**18),))
    with pytest.raises(TuneQatError, match=r"cifar10 needs 10+\.\d GB in .* GB free\. .*Nothing was fetched"):
        plan_of(large, tmp_path / "new").check_room()
    plan_of(source, tmp_path / "new").check_room()
    assert not (tmp_path / "new").exists()


def test_two_commands_do_not_fetch_into_one_folder(offered: Offer, site: Site, tmp_path: Path) -> None:
    source = offered("cifar10")
    seen = []

    def second(file: str, done: int, total: int) -> None:
        with pytest.raises(TuneQatError, match="cifar10 is being fetched into .* by another command"):
            fetched(source, tmp_path)
        seen.append(file)

    fetched(source, tmp_path, told=second)
    assert seen and len(site.asked) == 1


def test_data_that_is_there_in_part_is_left_alone(offered: Offer, site: Site, tmp_path: Path) -> None:
    source = offered("div2k")
    (tmp_path / "DIV2K_train_HR").mkdir()
    (tmp_path / "DIV2K_train_HR/0001.png").write_bytes(b"mine")
    with pytest.raises(TuneQatError, match="(?s)not whole: .*DIV2K_train_HR holds 1 of 6 files.*Nothing was fetched"):
        fetched(source, tmp_path)
    assert files(tmp_path) == {"DIV2K_train_HR/0001.png"} and site.asked == []
    (tmp_path / "DIV2K_valid_HR").symlink_to(tmp_path / "gone")
    (tmp_path / "DIV2K_train_HR").rename(tmp_path / "mine")
    with pytest.raises(TuneQatError, match="DIV2K_valid_HR is a link to nothing"):
        fetched(source, tmp_path)


def test_data_laid_out_by_hand_is_there(offered: Offer, site: Site, tmp_path: Path) -> None:
    source = offered("fashion_mnist")
    fetched(source, tmp_path)
    shutil.rmtree(tmp_path / ".tune-qat")
    site.asked.clear()
    fetched(source, tmp_path)
    assert site.asked == [] and "laid out by hand" in verify(source, tmp_path).text
    labels = tmp_path / "FashionMNIST/raw/t10k-labels-idx1-ubyte"
    labels.write_bytes(labels.read_bytes()[:-1])
    with pytest.raises(TuneQatError, match="t10k-labels-idx1-ubyte holds 37 of 38 bytes"):
        plan_of(source, tmp_path)


@pytest.mark.parametrize("name", SOURCES)
def test_verify_names_the_files_that_are_broken(offered: Offer, tmp_path: Path, name: str) -> None:
    source = offered(name)
    assert verify(source, tmp_path).text.startswith("NOT THERE: The data of dataset")
    fetched(source, tmp_path)
    changed, gone = sorted(files(tmp_path))[:2]
    content = bytearray((tmp_path / changed).read_bytes())
    content[-1] ^= 1
    (tmp_path / changed).write_bytes(content)
    (tmp_path / gone).unlink()
    verdict = verify(source, tmp_path)
    assert not verdict.whole
    assert verdict.text == f"BROKEN: {changed} has other bytes than were fetched; {gone} is missing"
    with pytest.raises(TuneQatError, match="not whole"):
        plan_of(source, tmp_path)


def test_verify_reads_and_counts_what_has_no_sums(offered: Offer, tmp_path: Path) -> None:
    source = offered("div2k")
    fetched(source, tmp_path)
    more = replace(source, samples=(800, 100))
    assert verify(more, tmp_path).text == (
        f"BROKEN: 6 + 2 images of at most 97 x 83 pixels in {tmp_path}, but it has 800 + 100"
    )
    shutil.rmtree(tmp_path / ".tune-qat")
    picture = tmp_path / "DIV2K_valid_HR/0802.png"
    picture.write_bytes(picture.read_bytes()[:2000])
    text = verify(source, tmp_path).text
    assert text.startswith("BROKEN: 1 of 8 images cannot be read:") and str(picture) in text


@pytest.mark.parametrize(
    "mirror", ["ftp://host/x", "host/x", "http://", "https://host/?a=b", "file:///data", "http://["]
)
def test_a_mirror_is_an_address_of_http_or_https(mirror: str) -> None:
    with pytest.raises(UsageError, match="--mirror takes the http:// or https:// address of a folder"):
        check_mirror(mirror)
    check_mirror("http://127.0.0.1:80/data/")


def test_every_archive_has_an_address_and_gives_what_its_reader_takes() -> None:
    unchecked = set()
    for source in map(with_published, SOURCES.values()):
        for archive in source.archives:
            assert archive.urls and all(url.startswith(("https://", "http://")) for url in archive.urls)
            assert archive.checksum or all(url.startswith("https://") for url in archive.urls)
            unchecked |= set() if archive.checksum else {source.name}
        given = {one.gives for one in source.archives}
        for alternatives in DATASETS[source.name].folders:
            assert any(one == alternatives[0] or one.startswith(f"{alternatives[0]}/") for one in given)
    assert unchecked == {"tsinghua_dogs"}
