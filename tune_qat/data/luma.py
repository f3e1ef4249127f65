"""Low- and high-resolution luma of a colour image, in integer arithmetic: the same bytes on every machine."""

import numpy as np
from PIL import Image


def luma(rgb: np.ndarray) -> np.ndarray:
    """Return Y of ITU-R BT.601 with studio swing: 16 + (65.481 R + 128.553 G + 24.966 B) / 255, rounded half up.

    Args:
        rgb: uint8 of shape (height, width, 3).

    Returns:
        uint8 of shape (height, width), in 16..235.
    """
    red, green, blue = (rgb[..., channel].astype(np.int32) for channel in range(3))
    thousandths = 65_481 * red + 128_553 * green + 24_966 * blue
    return (16 + (thousandths + 127_500) // 255_000).astype(np.uint8)


def low_and_high(image: Image.Image, scale: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the luma planes of the image reduced by `scale`, and of the image itself.

    The image is first cropped at its right and bottom to a multiple of `scale`. The reduction is antialiased
    bicubic (a = -0.5) on the colours, rounded to 8 bits as a file would hold it: Pillow's, which is in fixed-point
    arithmetic and equals torch's `interpolate(mode="bicubic", antialias=True)` within one grey level.

    Returns:
        uint8 planes of shapes (h, w) and (h * scale, w * scale).
    """
    width, height = (side // scale * scale for side in image.size)
    high = image.crop((0, 0, width, height))
    low = high.resize((width // scale, height // scale), Image.Resampling.BICUBIC)
    return luma(np.asarray(low)), luma(np.asarray(high))
