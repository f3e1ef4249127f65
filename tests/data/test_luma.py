import numpy as np
import torch
from PIL import Image
from torch.nn import functional

from tests.data.tiny_folders import photograph
from tune_qat.data.luma import low_and_high, luma


def test_luma_is_the_studio_swing_of_bt601() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (200, 200, 3)).astype(np.uint8)
    exact = 16 + rgb.astype(np.float64) @ np.array([65.481, 128.553, 24.966]) / 255
    assert np.abs(luma(rgb) - exact).max() <= 0.5 + 1e-9  # rounding to a whole level, and float64 error of `exact`


def test_luma_of_known_colours() -> None:
    colours = [[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]]
    assert luma(np.array([colours], dtype=np.uint8)).tolist() == [[16, 235, 81, 145, 41]]


def test_reduction_is_antialiased_bicubic() -> None:
    rgb = photograph(60, 84, seed=1)
    low, high = low_and_high(Image.fromarray(rgb), 3)
    assert np.array_equal(high, luma(rgb))
    channels = torch.from_numpy(rgb).permute(2, 0, 1)[None].float()
    reduced = functional.interpolate(channels, size=(20, 28), mode="bicubic", antialias=True)
    expected = luma(reduced[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8).numpy())
    difference = np.abs(low.astype(int) - expected)
    # Pillow rounds to whole levels after each of its two passes: half a level and half a level again
    assert difference.max() <= 1 and difference.mean() < 0.2


def test_image_is_cropped_to_a_multiple_of_the_scale() -> None:
    rgb = photograph(61, 47, seed=2)
    low, high = low_and_high(Image.fromarray(rgb), 4)
    assert low.shape == (15, 11) and high.shape == (60, 44)
    assert np.array_equal(high, luma(rgb)[:60, :44])
