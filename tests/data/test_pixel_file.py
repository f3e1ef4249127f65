import errno
import fcntl
import hashlib
import os
import pickle
import subprocess
import sys
import threading
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest

from tune_qat.config import TuneQatError
from tune_qat.data.fingerprint import digest
from tune_qat.data.mapped_images import MappedImages
from tune_qat.data.pixel_file import CACHE_VARIABLE, DRAFT_SUFFIX, Draft, PixelFile, cache_folder, draft, make_room

SHAPE = (7, 3, 20, 24)
Usage = namedtuple("Usage", "total used free")


def images(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, SHAPE).astype(np.uint8)


def fill(made: Draft, pixels: np.ndarray) -> None:
    for place in np.random.default_rng(1).permutation(len(pixels)):
        made.put(place, pixels[place])


def written(folder: Path, seed: int = 0) -> PixelFile:
    file = PixelFile(path=folder / "a.npy", shape=SHAPE)
    with draft(file, "dogs") as made:
        fill(made, images(seed))
    return file


def test_what_is_written_is_read(tmp_path: Path) -> None:
    file, expected = written(tmp_path), images()
    found = file.read()
    assert found is not None
    assert np.array_equal(found.images, expected) and not found.images.flags.writeable
    assert [row.tobytes().hex() for row in found.digests] == [digest(image) for image in expected]
    counts = [[(expected[:, channel] == level).sum() for level in range(256)] for channel in range(3)]
    assert np.array_equal(found.level_counts, counts)
    assert np.array_equal(np.load(file.path), expected), "any reader of .npy files gets the images"
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]
    assert 0 <= file.path.stat().st_size - file.size < 1000  # headers


def test_nothing_is_there_before_it_is_whole(tmp_path: Path) -> None:
    file = PixelFile(path=tmp_path / "a.npy", shape=SHAPE)
    with draft(file, "dogs") as made:
        fill(made, images())
        assert file.read() is None and not file.path.exists()
    assert file.read() is not None


def test_an_error_leaves_nothing_behind(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt), draft(PixelFile(path=tmp_path / "a.npy", shape=SHAPE), "dogs") as made:
        fill(made, images())
        raise KeyboardInterrupt
    assert not list(tmp_path.iterdir())


def test_of_two_drafts_of_a_file_the_last_to_end_wins_and_both_were_whole(tmp_path: Path) -> None:
    file = PixelFile(path=tmp_path / "a.npy", shape=SHAPE)
    with draft(file, "dogs") as slow:
        fill(slow, images(1))
        with draft(file, "dogs") as fast:
            fill(fast, images(2))
        first = file.open()
        assert np.array_equal(first.images, images(2))
    assert np.array_equal(file.open().images, images(1))
    assert np.array_equal(first.images, images(2)), "who had the other one open keeps it"
    assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]


def test_putting_from_several_threads_counts_every_level_once(tmp_path: Path) -> None:
    made, pixels = Draft(np.empty(SHAPE, np.uint8)), images()
    go = threading.Barrier(len(pixels))

    def put(place: int) -> None:
        go.wait()
        for _ in range(200):
            made.put(place, pixels[place])

    threads = [threading.Thread(target=put, args=(place,)) for place in range(len(pixels))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (made.level_counts.sum(1) == 200 * pixels[:, 0].size).all()


def test_a_file_cut_off_anywhere_is_none(tmp_path: Path) -> None:
    file = written(tmp_path)
    content = file.path.read_bytes()
    for length in [0, 5, 100, 128, 1000, *range(len(content) - 7000, len(content), 97), len(content) - 1]:
        file.path.write_bytes(content[:length])
        assert file.read() is None, f"{length} of {len(content)} bytes"
    file.path.write_bytes(content)
    assert file.read() is not None


def test_a_file_that_goes_on_is_none(tmp_path: Path) -> None:
    file = written(tmp_path)
    with file.path.open("ab") as handle:
        handle.write(b"x")
    assert file.read() is None


@pytest.mark.parametrize(
    "array",
    [
        images()[:-1],
        images().astype(np.int8),
        np.asfortranarray(images()),
        images().reshape(SHAPE[0], -1),
        np.array([len, {}], dtype=object),
        np.float64(3.0),
    ],
    ids=["fewer", "signed", "fortran", "flat", "pickled", "scalar"],
)
def test_another_array_is_none(tmp_path: Path, array: np.ndarray) -> None:
    file = PixelFile(path=tmp_path / "a.npy", shape=SHAPE)
    with file.path.open("wb") as handle:
        np.save(handle, array, allow_pickle=True)
        np.save(handle, np.zeros((7, 32), np.uint8))
        np.save(handle, np.zeros((3, 256), np.int64))
    assert file.read() is None


def test_a_damaged_header_is_none_and_no_error(tmp_path: Path) -> None:
    file, rng = written(tmp_path), np.random.default_rng(0)
    content = file.path.read_bytes()
    refused = 0
    for _ in range(300):
        damaged = bytearray(content)
        for place in rng.integers(0, 80, 2):
            damaged[place] = rng.integers(0, 256)
        file.path.write_bytes(damaged)
        refused += file.read() is None
    assert refused > 250  # the rest changed a space, or nothing


def test_a_folder_in_its_place_is_none(tmp_path: Path) -> None:
    (tmp_path / "a.npy").mkdir()
    assert PixelFile(path=tmp_path / "a.npy", shape=SHAPE).read() is None


def test_missing_file_says_that_each_machine_has_its_own_and_what_to_do(tmp_path: Path) -> None:
    file = PixelFile(path=tmp_path / "away.npy", shape=SHAPE)
    split = MappedImages(file=file, labels=np.arange(7))
    assert split.labels.tolist() == list(range(7)), "nothing is opened before it is asked for"
    with pytest.raises(TuneQatError) as caught:
        _ = split.images
    text = str(caught.value)
    assert str(file.path) in text and CACHE_VARIABLE in text and "all nodes see" in text and "in_memory = true" in text


def test_mapped_images_pickle_as_their_path_and_open_in_another_process(tmp_path: Path) -> None:
    split = MappedImages(file=written(tmp_path), labels=np.arange(7))
    unopened = len(pickle.dumps(split))
    assert np.array_equal(split.images, images())
    content = pickle.dumps(split)
    assert len(content) == unopened < 1500 < split.images.nbytes
    (tmp_path / "split.pickle").write_bytes(content)
    code = (
        "import hashlib, pickle, sys; split = pickle.load(open(sys.argv[1], 'rb')); "
        "print(hashlib.sha256(split.images.tobytes()).hexdigest(), split.labels.tolist())"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "split.pickle")]
    found = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert found.split(maxsplit=1) == [hashlib.sha256(images().tobytes()).hexdigest(), f"{list(range(7))}\n"]


def test_announcing_images_reads_the_same_pixels(tmp_path: Path) -> None:
    split = MappedImages(file=written(tmp_path), labels=np.arange(7))
    split.will_need(range(7))
    split.will_need([6, 0])
    assert np.array_equal(split.images, images())


def test_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "given"))
    assert cache_folder() == tmp_path / "given"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(CACHE_VARIABLE, "relative")
    assert cache_folder() == tmp_path / "relative"
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv(CACHE_VARIABLE, "~/here")
    assert cache_folder() == tmp_path / "home/here"
    monkeypatch.delenv(CACHE_VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_folder() == tmp_path / "xdg/tune_qat"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == tmp_path / "home/.cache/tune_qat"


class TestRoom:
    FILE_GB = 10.5

    @pytest.fixture
    def files(self, tmp_path: Path) -> list[PixelFile]:
        return [PixelFile(path=tmp_path / f"{n}.npy", shape=(n, 3, 224, 224)) for n in (65_228, 4_532)]

    def free(self, monkeypatch: pytest.MonkeyPatch, free: int) -> None:
        monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(10**12, 10**12 - free, free))

    def test_too_little_room_says_how_much_where_and_what_to_do(
        self, files: list[PixelFile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        needed = sum(file.size for file in files)
        self.free(monkeypatch, needed - 1)
        with pytest.raises(TuneQatError) as caught:
            make_room(tmp_path / "cache", files, "dogs")
        text = str(caught.value)
        assert f"{needed / 1e9:.3f} GB" in text and str(tmp_path / "cache") in text and "'dogs'" in text
        assert all(word in text for word in (CACHE_VARIABLE, "image_size", "train_limit"))
        assert self.FILE_GB == round(needed / 1e9, 1)

    def test_just_enough_room_will_do(
        self, files: list[PixelFile], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.free(monkeypatch, sum(file.size for file in files))
        make_room(tmp_path / "cache" / "below", files, "dogs")
        assert (tmp_path / "cache" / "below").is_dir()

    @pytest.mark.parametrize(("number", "text"), [(errno.ENOSPC, "GB free"), (errno.EDQUOT, "GB free"), (5, "written")])
    def test_a_disk_that_fails_while_it_is_written_is_named(
        self, number: int, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*args: int) -> None:
            raise OSError(number, os.strerror(number))

        monkeypatch.setattr("os.posix_fallocate", fail)
        with pytest.raises(TuneQatError, match=text) as caught:
            written(tmp_path)
        assert str(tmp_path) in str(caught.value) and CACHE_VARIABLE in str(caught.value)
        assert not list(tmp_path.iterdir())

    def test_a_file_system_that_cannot_reserve_is_written_all_the_same(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def fail(*args: int) -> None:
            raise OSError(errno.EOPNOTSUPP, "not supported")

        monkeypatch.setattr("os.posix_fallocate", fail)
        assert np.array_equal(written(tmp_path).open().images, images())

    def test_a_folder_that_cannot_be_made_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "file").touch()
        with pytest.raises(TuneQatError, match=f"(?s)cannot be written to {tmp_path}/file/cache: .*{CACHE_VARIABLE}"):
            make_room(tmp_path / "file" / "cache", [], "dogs")

    def test_drafts_of_dead_processes_go_and_those_of_living_ones_stay(self, tmp_path: Path) -> None:
        dead, alive, young = (tmp_path / f"{name}.npy.1{DRAFT_SUFFIX}" for name in ("dead", "alive", "young"))
        whole = tmp_path / "whole.npy"
        for path in (dead, alive, young, whole):
            path.touch()
        for path in (dead, alive, whole):
            os.utime(path, (0, 0))
        with alive.open("r+b") as handle:
            fcntl.flock(handle, fcntl.LOCK_EX)
            make_room(tmp_path, [], "dogs")
        assert sorted(path.name for path in tmp_path.iterdir()) == sorted([alive.name, whole.name, young.name])

    def test_a_wrong_clock_on_this_machine_removes_no_young_draft(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        young = tmp_path / f"young.npy.1{DRAFT_SUFFIX}"
        young.touch()
        monkeypatch.setattr("time.time", lambda: 4e9)
        make_room(tmp_path, [], "dogs")
        assert young.exists()

    def test_a_draft_in_the_making_is_locked(self, tmp_path: Path) -> None:
        with draft(PixelFile(path=tmp_path / "a.npy", shape=SHAPE), "dogs") as made:
            (path,) = tmp_path.iterdir()
            os.utime(path, (0, 0))
            make_room(tmp_path, [], "dogs")
            assert path.exists()
            fill(made, images())
        assert [path.name for path in tmp_path.iterdir()] == ["a.npy"]
