import numpy as np
import torch

from tune_qat.data.augment import crop_flip

torch.set_num_threads(1)
IMAGES = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (6, 3, 16, 24)).astype(np.uint8))


def variants(image: np.ndarray) -> dict[bytes, tuple[int, int, bool]]:
    """Every outcome (down, right, mirrored) of one image, with numpy's own reflected border."""
    reach = (image.shape[1] // 8, image.shape[2] // 8)
    padded = np.pad(image, ((0, 0), (reach[0],) * 2, (reach[1],) * 2), mode="reflect")
    found = {}
    for down in range(2 * reach[0] + 1):
        for right in range(2 * reach[1] + 1):
            crop = padded[:, down : down + image.shape[1], right : right + image.shape[2]]
            found[np.ascontiguousarray(crop).tobytes()] = (down, right, False)
            found[np.ascontiguousarray(crop[:, :, ::-1]).tobytes()] = (down, right, True)
    return found


def test_each_outcome_is_a_reflected_shift_and_all_are_drawn_alike() -> None:
    index = torch.arange(6).repeat(10)
    drawn = []
    for epoch in range(40):
        batch = crop_flip(IMAGES[index], index, seed=1, epoch=epoch).numpy()
        for i, one in zip(index[:6], batch, strict=False):
            drawn.append(variants(IMAGES[i].numpy())[one.tobytes()])
    down, right, mirrored = (np.array(values) for values in zip(*drawn, strict=True))
    assert set(down) == set(range(5)) and set(right) == set(range(7))
    assert 0.4 < mirrored.mean() < 0.6  # 240 fair draws: 3 standard errors
    for a, b in ((down, right), (down, mirrored), (right, mirrored)):
        assert abs(np.corrcoef(a, b)[0, 1]) < 0.2  # 240 independent draws: 3 standard errors


def test_every_draw_is_made_anew_for_each_epoch_and_seed() -> None:
    outcomes = variants(IMAGES[0].numpy())
    for counters in ([(1, epoch) for epoch in range(20)], [(seed, 1) for seed in range(20)]):
        drawn = [outcomes[crop_flip(IMAGES[:1], torch.tensor([0]), *one).numpy()[0].tobytes()] for one in counters]
        for values in zip(*drawn, strict=True):
            assert len(set(values)) > 1  # of 20 fair draws all are alike once in 500,000


def test_images_too_small_to_shift_are_only_mirrored() -> None:
    images = torch.arange(2 * 7 * 7, dtype=torch.uint8).reshape(2, 1, 7, 7)
    for epoch in range(20):
        for original, one in zip(images, crop_flip(images, torch.arange(2), 0, epoch), strict=True):
            assert torch.equal(one, original) or torch.equal(one, original.flip(-1))
