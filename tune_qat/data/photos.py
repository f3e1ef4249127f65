"""Real colour photographs that come inside the wheels of scikit-image and scikit-learn: no download, no network.

Left out on purpose: `ihc` and `retina` (stained tissue under a microscope, the inside of an eye: no photographs of a
scene), `color` and `logo` (drawn), and all grey images.
"""

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from tune_qat.config import TuneQatError
from tune_qat.data.image_pairs import load_pairs
from tune_qat.data.splits import held_out, shuffled
from tune_qat.data.table import DATASETS
from tune_qat.data.task import Dataset

SKIMAGE_FOLDER, SKLEARN_FOLDER = ("skimage", "data"), ("sklearn", "datasets/images")
SCENES = {
    "astronaut": (SKIMAGE_FOLDER, ("astronaut.png",)),
    "chelsea": (SKIMAGE_FOLDER, ("chelsea.png",)),
    "china": (SKLEARN_FOLDER, ("china.jpg",)),
    "coffee": (SKIMAGE_FOLDER, ("coffee.png",)),
    "flower": (SKLEARN_FOLDER, ("flower.jpg",)),
    "hubble_deep_field": (SKIMAGE_FOLDER, ("hubble_deep_field.jpg",)),
    "motorcycle": (SKIMAGE_FOLDER, ("motorcycle_left.png", "motorcycle_right.png")),
    "rocket": (SKIMAGE_FOLDER, ("rocket.jpg",)),
}
"""Scenes and their files. Photographs of one scene stay in one split: the stereo pair shows one motorcycle."""
TEST_SCENES = VAL_SCENES = 2


def load_photos(data_dir: Path | None, **options: Any) -> Dataset:
    """Load the photographs, split by scene: two scenes for test, two for validation, the others for training."""
    scenes = sorted(SCENES)
    test, rest = np.split(shuffled(len(scenes), options["split_seed"]), [TEST_SCENES])
    val, train = held_out(rest, VAL_SCENES, options)
    files = {
        split: [path for index in members for path in scene_files(scenes[index])]
        for split, members in (("train", train), ("val", val), ("test", np.sort(test)))
    }
    return load_pairs(DATASETS["photos"], options, files)


def scene_files(scene: str) -> list[Path]:
    """Return the files of a scene, inside the package that they come with.

    Raises `TuneQatError` if the package is not installed.
    """
    (package, folder), names = SCENES[scene]
    found = find_spec(package)  # finds the folder without importing the package, which takes a second
    if found is None or found.origin is None:
        raise TuneQatError(f"The photographs of dataset 'photos' come with {package}, which is not installed.")
    return [Path(found.origin).parent / folder / name for name in names]
