"""Images a second of random resized crops, from images that are decoded once and through torch's DataLoader.

python -m benchmarks.crops [--images N] [--rounds N] [--save]

Writes N (600) photographs of 1,000 x 750 pixels, crops of those inside scikit-image and scikit-learn, as ImageNet's
folders, and reads epochs of batches of 64 at 224 x 224 pixels, nothing being trained on them:

crops    `augment = "resized_crop"`: decoded once, mapped from files that the page cache holds, one torch thread
loader   torch's DataLoader, a worker a core, over torchvision's ImageFolder: decode, RandomResizedCrop,
         RandomHorizontalFlip, ToTensor, Normalize, as torch's ImageNet example
squares  `augment = "crop_flip"`, the default: centre squares, shifted and mirrored

and says how long decoding once takes, and the bytes of an image on disk.
"""

import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from benchmarks.measure import Report, interleaved, parser, table
from tune_qat import data
from tune_qat.data.photos import SCENES, scene_files
from tune_qat.data.pixel_file import CACHE_VARIABLE
from tune_qat.data.task import Task

WIDTH, HEIGHT, SIDE, BATCH, CLASSES, TEST = 1_000, 750, 224, 64, 10, 20
MEAN, DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CORES = len(os.sched_getaffinity(0))


def write_photographs(root: Path, images: int) -> None:
    """JPEG files by class in `train`, and a few in `val`."""
    draw = np.random.default_rng(0)
    sources = [Image.open(path).convert("RGB") for scene in SCENES for path in scene_files(scene)]
    for number in range(images + TEST):
        folder = root / "imagenet" / ("train" if number < images else "val") / f"n{number % CLASSES:08}"
        folder.mkdir(parents=True, exist_ok=True)
        photograph(sources[draw.integers(len(sources))], draw).save(folder / f"{number}.JPEG", quality=90)


def photograph(source: Image.Image, draw: np.random.Generator) -> Image.Image:
    """A part of a photograph, in the size of a large one."""
    share = draw.uniform(0.5, 1) * min(source.width / WIDTH, source.height / HEIGHT)
    width, height = share * WIDTH, share * HEIGHT
    left, top = draw.uniform(0, source.width - width), draw.uniform(0, source.height - height)
    return source.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC, box=(left, top, left + width, top + height))


def task_of(root: Path, augment: str) -> tuple[Task, float]:
    """The training data as a trial has it, and the seconds of getting it."""
    began = time.perf_counter()
    task = data.load("imagenet", data_dir=root, options={"augment": augment}).task()
    task.batch(0, 1, torch.arange(1))  # mean and deviation, which a process works out once
    return task, time.perf_counter() - began


def rate(task: Task, numbers: "count[int]") -> float:
    """Images a second of one epoch."""
    number = next(numbers)
    order = torch.randperm(task.train_size, generator=torch.Generator().manual_seed(number))
    began = time.perf_counter()
    images = sum(len(inputs) for inputs, _ in task.batches(0, number, order, BATCH))
    return images / (time.perf_counter() - began)


def loader_rate(loader: "DataLoader[tuple[torch.Tensor, torch.Tensor]]") -> float:
    """Images a second of one epoch, the start of the workers left out: they are kept."""
    began = time.perf_counter()
    images = sum(len(inputs) for inputs, _ in loader)
    return images / (time.perf_counter() - began)


def image_folder(root: Path) -> "DataLoader[tuple[torch.Tensor, torch.Tensor]]":
    """The batches as people write them."""
    steps = [transforms.RandomResizedCrop(SIDE), transforms.RandomHorizontalFlip()]
    steps += [transforms.ToTensor(), transforms.Normalize(MEAN, DEVIATION)]
    folder = datasets.ImageFolder(str(root / "imagenet" / "train"), transforms.Compose(steps))
    return DataLoader(
        folder, batch_size=BATCH, shuffle=True, drop_last=True, num_workers=CORES, persistent_workers=True
    )


def main() -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--images", type=int, default=600, help="photographs to train on")
    given = options.parse_args()
    torch.set_num_threads(1)
    out = Report("crops", "Random resized crops", rounds=given.rounds, save=given.save)
    with tempfile.TemporaryDirectory(prefix="crops-") as name:
        root = Path(name)
        os.environ[CACHE_VARIABLE] = str(root / "cache")
        write_photographs(root, given.images)
        made = {arm: task_of(root, augment) for arm, augment in (("crops", "resized_crop"), ("squares", "crop_flip"))}
        arms: dict[str, Callable[[], float]] = {
            arm: partial(rate, task, count(1)) for arm, (task, _) in made.items()
        } | {"loader": partial(loader_rate, image_folder(root))}
        found = interleaved(arms, given.rounds)
        size = sum(path.stat().st_size for path in (root / "cache").glob("*.npy"))
    out.add(f"{given.images} JPEG files of {WIDTH} x {HEIGHT} pixels, batches of {BATCH}, {CORES} cores.")
    rows = [[arm, found.spread(arm), found.ratio(arm, "loader")] for arm in arms]
    out.add(table(["batches from", "images a second", "times the loader"], rows))
    decoding = made["crops"][1]
    out.add(f"Decoding once took {decoding:.1f} s, {given.images / decoding:.0f} images a second, on {CORES} cores.")
    out.add(f"All decoded files together: {size / 1e6:.0f} MB.")
    out.check(found.values["loader"])
    out.close()


if __name__ == "__main__":
    main()
