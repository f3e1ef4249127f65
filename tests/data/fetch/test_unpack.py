"""Archives that climb out, link, are devices, swell or are damaged: refused, with nothing outside of their folder."""

import gzip
import io
import stat
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from tune_qat.data.fetch.unpack import BadArchive, Unpacked, unpack

KINDS = {"zip": "a.zip", "tar": "a.tar.gz"}
LINK, HARD, DEVICE, PIPE = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE


def write_tar(path: Path, members: dict[str, bytes], **changed: object) -> None:
    with tarfile.open(path, "w:gz") as file:
        for name, content in members.items():
            one = tarfile.TarInfo(name)
            one.size = len(content)
            for key, value in changed.items():
                setattr(one, key, value)
            file.addfile(one, io.BytesIO(content))


def write_zip(path: Path, members: dict[str, bytes], mode: int = 0) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        for name, content in members.items():
            one = zipfile.ZipInfo(name)
            one.compress_type, one.external_attr = zipfile.ZIP_DEFLATED, mode << 16
            file.writestr(one, content)


WRITERS: dict[str, Callable[[Path, dict[str, bytes]], None]] = {"zip": write_zip, "tar": write_tar}


@pytest.fixture(params=KINDS)
def archive(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[dict[str, bytes]], Path]:
    """Writes an archive of either kind."""

    def made(members: dict[str, bytes]) -> Path:
        path = tmp_path / KINDS[request.param]
        WRITERS[request.param](path, members)
        return path

    return made


def unpacked(path: Path, most_bytes: int = 10_000, most_members: int = 10) -> Unpacked:
    into = Unpacked(folder=path.parent / "deep" / "into", most_bytes=most_bytes, most_members=most_members)
    unpack(path, into)
    return into


def refused(path: Path, why: str, **limits: int) -> None:
    with pytest.raises(BadArchive, match=why):
        unpacked(path, **limits)
    outside = {one for one in path.parent.rglob("*") if "into" not in one.parts}
    assert outside == {path, path.parent / "deep"}


def test_files_are_written_with_their_sums(archive: Callable[[dict[str, bytes]], Path]) -> None:
    into = unpacked(archive({"one/a": b"abc", "one/two/b": b""}))
    assert (into.folder / "one/a").read_bytes() == b"abc" and (into.folder / "one/two/b").read_bytes() == b""
    # FIPS 180-2, appendix B.1; and of nothing
    assert into.sums["one/a"] == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
    assert into.sums["one/two/b"].startswith("e3b0c44298fc1c14")


def test_the_one_file_of_a_gz(tmp_path: Path) -> None:
    path = tmp_path / "file-idx1.gz"
    path.write_bytes(gzip.compress(b"abc"))
    assert list(unpacked(path).sums) == ["file-idx1"]


@pytest.mark.parametrize("name", ["../out", "a/../../out", "/tmp/out", "C:/out", "a/.."])
def test_members_that_climb_out_or_have_a_place_of_their_own(
    archive: Callable[[dict[str, bytes]], Path], name: str
) -> None:
    refused(archive({"fine": b"x", name: b"x"}), "would be written elsewhere")


@pytest.mark.parametrize("name", ["a\\b", "a\nb", "\x1b[2Jb"])
def test_members_with_strange_names(archive: Callable[[dict[str, bytes]], Path], name: str) -> None:
    refused(archive({name: b"x"}), "has a name that no file of a data set has")


@pytest.mark.parametrize("kind", [LINK, HARD, DEVICE, PIPE, tarfile.BLKTYPE])
def test_links_devices_and_pipes_in_a_tar_file(tmp_path: Path, kind: bytes) -> None:
    write_tar(tmp_path / "a.tar.gz", {"odd": b""}, type=kind, linkname="/etc/passwd")
    refused(tmp_path / "a.tar.gz", "'odd' is a link or a device")


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFIFO, stat.S_IFSOCK])
def test_links_devices_and_pipes_in_a_zip_file(tmp_path: Path, kind: int) -> None:
    write_zip(tmp_path / "a.zip", {"odd": b"/etc/passwd"}, mode=kind | 0o777)
    refused(tmp_path / "a.zip", "'odd' is a link or a device")


def test_archives_that_swell(archive: Callable[[dict[str, bytes]], Path]) -> None:
    path = archive({"zeros": bytes(3_000_000)})
    assert path.stat().st_size < 10_000
    refused(path, "it holds more than ")


def test_a_gz_that_swells(tmp_path: Path) -> None:
    (tmp_path / "zeros.gz").write_bytes(gzip.compress(bytes(3_000_000)))
    refused(tmp_path / "zeros.gz", "holds more than 10,000 bytes")


def test_a_zip_file_that_lies_about_its_sizes(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    write_zip(path, {"zeros": bytes(3_000_000)})
    size = (3_000_000).to_bytes(4, "little")
    assert path.read_bytes().count(size) == 2  # of the member, and in the list of members
    path.write_bytes(path.read_bytes().replace(size, (100).to_bytes(4, "little")))
    refused(path, "damaged")
    assert (tmp_path / "deep/into/zeros").stat().st_size <= 10_000


def test_headers_that_swell(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "a.tar.gz", "w:gz", format=tarfile.PAX_FORMAT) as file:
        one = tarfile.TarInfo("a")
        one.pax_headers = {"comment": "x" * 3_000_000}
        file.addfile(one)
    refused(tmp_path / "a.tar.gz", "more than its files and their names")


def test_thousands_of_members(archive: Callable[[dict[str, bytes]], Path]) -> None:
    refused(archive({f"{number}": b"" for number in range(3_000)}), "more than 20 members", most_members=20)


@pytest.mark.filterwarnings("ignore:Duplicate name:UserWarning")
def test_two_members_of_one_name_and_a_file_that_is_a_folder_too(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as file:
        file.writestr("a", b"1")
        file.writestr("a", b"2")
    refused(tmp_path / "a.zip", "'a' cannot be a file: File exists")


def test_a_file_that_is_a_folder_too(archive: Callable[[dict[str, bytes]], Path]) -> None:
    refused(archive({"a": b"1", "a/b": b"2"}), "'a/b' cannot be a file")


def test_archives_that_are_cut_off(archive: Callable[[dict[str, bytes]], Path]) -> None:
    path = archive({"a": bytes(range(256)) * 20})
    path.write_bytes(path.read_bytes()[:-30])
    refused(path, "damaged or no archive")


@pytest.mark.parametrize("name", ["a.zip", "a.tar.gz", "a.gz"])
def test_what_is_no_archive(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"<!doctype html><title>Log in</title>" * 99)
    refused(tmp_path / name, f"{name} is damaged or no archive")


def test_an_encrypted_zip_file(tmp_path: Path) -> None:
    path = tmp_path / "a.zip"
    write_zip(path, {"a": b"x"})
    content = bytearray(path.read_bytes())
    for place, offset in ((0, 6), (content.index(b"PK\x01\x02"), 8)):  # flags of the member, and in the list
        content[place + offset] |= 1
    path.write_bytes(content)
    refused(path, "damaged or no archive: .*encrypted")
