"""Super-resolution data from image files: the part that `photos` and `div2k` share."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from tune_qat.config import stable_hash
from tune_qat.data.decoding import open_rgb, read_all
from tune_qat.data.fingerprint import data_fingerprint, digest, split_fingerprint
from tune_qat.data.luma import low_and_high
from tune_qat.data.spec import DatasetSpec, ImagePairs, ModelInput
from tune_qat.data.task import Dataset

MIN_EVALUATION_SIDE = 4
"""Smallest side of an evaluated image, in low-resolution pixels: it loses one at each edge by the border crop."""


class _Pair(NamedTuple):
    low: np.ndarray
    high: np.ndarray
    source_digest: str


def load_pairs(spec: DatasetSpec, options: Mapping[str, Any], files: Mapping[str, Sequence[Path]]) -> Dataset:
    """Decode the files of each split into luma planes.

    Validation and test images are cropped to a centred square of `evaluation_crop` high-resolution pixels (0: not
    at all); training images stay whole. The data fingerprint hashes the decoded colours of every file before the crop.

    Raises `TuneQatError` if an image cannot be read, or is smaller than a patch.
    """
    tasks = [(split, path) for split, paths in files.items() for path in paths]
    pairs = read_all(lambda task: _read(task[1], task[0], options), tasks, lambda task: task[1])
    names = {split: tuple(path.stem for path in paths) for split, paths in files.items()}
    content = sorted((path.stem, pair.source_digest) for (_, path), pair in zip(tasks, pairs, strict=True))
    return Dataset(
        spec=spec,
        options=options,
        splits={
            split: _pack([pair for (of, _), pair in zip(tasks, pairs, strict=True) if of == split]) for split in files
        },
        fingerprint=data_fingerprint(spec.name, options, stable_hash(content)),
        split_fingerprint=split_fingerprint(names),
        names=names,
        model_input=ModelInput(
            task=spec.task, channels=1, height=None, width=None, classes=None, scale=options["scale"]
        ),
    )


def _read(path: Path, split: str, options: Mapping[str, Any]) -> _Pair:
    image = open_rgb(path)
    source_digest = digest(np.asarray(image))
    if split != "train" and options["evaluation_crop"]:
        image = _centre(image, options["evaluation_crop"])
    scale, needed = options["scale"], options["patch_size"] if split == "train" else MIN_EVALUATION_SIDE
    if min(image.size) // scale < needed:
        raise ValueError(
            f"{image.width} x {image.height} pixels are too few: "
            f"{needed} at scale {scale} need {needed * scale} x {needed * scale}"
        )
    low, high = low_and_high(image, scale)
    return _Pair(low, high, source_digest)


def _centre(image: Image.Image, side: int) -> Image.Image:
    width, height = (min(side, length) for length in image.size)
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _pack(pairs: Sequence[_Pair]) -> ImagePairs:
    return ImagePairs(
        low=np.concatenate([pair.low.ravel() for pair in pairs]),
        low_shapes=np.array([pair.low.shape for pair in pairs], dtype=np.int64),
        high=np.concatenate([pair.high.ravel() for pair in pairs]),
        high_shapes=np.array([pair.high.shape for pair in pairs], dtype=np.int64),
    )
