from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.data.tiny_folders import photograph
from tune_qat.config import TuneQatError
from tune_qat.data.decoding import open_rgb, read_all


def identity(path: Path) -> Path:
    return path


def test_images_come_in_order(tmp_path: Path) -> None:
    paths = []
    for i in range(20):
        paths.append(tmp_path / f"{i}.png")
        Image.new("RGB", (2, 2), (i, 0, 0)).save(paths[-1])
    assert [np.asarray(image)[0, 0, 0] for image in read_all(open_rgb, paths, identity)] == list(range(20))


def test_unreadable_images_are_all_counted_and_the_first_ten_named(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i:04}.png" for i in range(1240)]
    for path in paths[::100]:
        path.touch()
    Image.fromarray(photograph(8, 8, 0)).save(paths[1])
    for path in paths:
        if not path.exists():
            path.hardlink_to(paths[1])
    with pytest.raises(TuneQatError) as caught:
        read_all(open_rgb, paths, identity)
    lines = str(caught.value).splitlines()
    assert lines[0] == "13 of 1,240 images cannot be read:"
    assert [line.split(": ")[0].strip() for line in lines[1:11]] == [str(path) for path in paths[::100][:10]]
    assert lines[11].strip() == "... and 3 more"


@pytest.mark.parametrize("suffix", [".png", ".jpg"])
def test_truncated_image_is_refused(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"cut{suffix}"
    Image.fromarray(photograph(64, 64, 0)).save(path)
    path.write_bytes(path.read_bytes()[:-600])
    with pytest.raises(TuneQatError, match=rf"(?s)1 of 1 images.*cut\{suffix}: .*truncated"):
        read_all(open_rgb, [path], identity)


def test_missing_image_is_named(tmp_path: Path) -> None:
    with pytest.raises(TuneQatError, match=r"away\.png: No such file"):
        read_all(open_rgb, [tmp_path / "away.png"], identity)


def test_more_than_eight_bits_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "deep.png"
    Image.fromarray(np.full((4, 4), 40_000, dtype=np.uint16)).save(path)
    with pytest.raises(TuneQatError, match="only images with 8 bits"):
        read_all(open_rgb, [path], identity)


def test_grey_becomes_three_equal_channels_and_alpha_is_dropped(tmp_path: Path) -> None:
    grey = np.arange(16, dtype=np.uint8).reshape(4, 4)
    Image.fromarray(grey).save(tmp_path / "grey.png")
    assert np.array_equal(np.asarray(open_rgb(tmp_path / "grey.png")), np.repeat(grey[..., None], 3, -1))
    colours = photograph(4, 4, 0)
    with_alpha = np.concatenate([colours, np.zeros((4, 4, 1), np.uint8)], -1)
    Image.fromarray(with_alpha).save(tmp_path / "alpha.png")
    assert np.array_equal(np.asarray(open_rgb(tmp_path / "alpha.png")), colours)
