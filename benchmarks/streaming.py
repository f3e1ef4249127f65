"""Images a second from photographs in memory, from decoded files on disk, and decoded anew in every epoch.

python -m benchmarks.streaming [IMAGES]

Writes IMAGES (2,000) photographs of 500 x 375 pixels, crops of those inside scikit-image and scikit-learn, in Tsinghua
Dogs' layout, and reads epochs of augmented, normalised batches, nothing being trained on them:

memory   decoded once, in memory
disk     decoded once, mapped from files that the page cache holds
cold     the same, after the page cache has let go of the files
loader   torch's DataLoader, a worker a core, over torchvision's ImageFolder: decode, resize, crop, flip, normalise

The first three in one process with one torch thread. Then the memory of a process that reads epoch after epoch from
disk. Needs Linux.
"""

import gc
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import psutil
import torch
from PIL import Image
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from tune_qat import data
from tune_qat.data.photos import SCENES, scene_files
from tune_qat.data.pixel_file import CACHE_VARIABLE
from tune_qat.data.task import Dataset
from tune_qat.training.device import cpu_name

BREEDS = 20
TEST_SHARE = 0.05
WIDTH, HEIGHT, SIDE = 500, 375, 224
BATCH = 64
ROUNDS, MEMORY_EPOCHS = 7, 6
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
CORES = len(os.sched_getaffinity(0))
Batches = Iterable[tuple[torch.Tensor, torch.Tensor]]


def write_photographs(root: Path, n: int, seed: int = 0) -> None:
    """JPEG files by breed, and the two lists that name them."""
    rng = np.random.default_rng(seed)
    sources = [Image.open(path).convert("RGB") for scene in SCENES for path in scene_files(scene)]
    lists: dict[str, list[str]] = {"train.lst": [], "validation.lst": []}
    for i in range(n):
        breed = f"{i % BREEDS}-n{i % BREEDS:06}-breed"
        path = root / "low-resolution" / breed / f"n{i}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        _crop(sources[rng.integers(len(sources))], rng).save(path, quality=90)
        lists["validation.lst" if i < TEST_SHARE * n else "train.lst"].append(f".//{breed}/{path.name}")
    for name, lines in lists.items():
        (root / name).write_text("\n".join(lines) + "\n")


def _crop(source: Image.Image, rng: np.random.Generator) -> Image.Image:
    share = rng.uniform(0.5, 1) * min(source.width / WIDTH, source.height / HEIGHT)
    width, height = share * WIDTH, share * HEIGHT
    left, top = rng.uniform(0, source.width - width), rng.uniform(0, source.height - height)
    box = (left, top, left + width, top + height)
    return source.resize((WIDTH, HEIGHT), Image.Resampling.BICUBIC, box=box)


def load(root: Path, *, in_memory: bool) -> Dataset:
    """The photographs as `tune_qat` holds them."""
    return data.load("tsinghua_dogs", data_dir=root, options={"in_memory": in_memory, "image_size": SIDE})


def epoch(dataset: Dataset, number: int) -> Batches:
    """One epoch of batches, as training asks for them."""
    task = dataset.task()
    task.batch(0, number, torch.arange(1))  # statistics, which a process works out once
    order = torch.randperm(task.train_size, generator=torch.Generator().manual_seed(number))
    return task.batches(0, number, order, BATCH)


def image_folder(root: Path) -> Batches:
    """One epoch of batches as people write it."""
    steps = [transforms.Resize(SIDE * 256 // 224), transforms.CenterCrop(SIDE), transforms.RandomHorizontalFlip()]
    steps += [transforms.ToTensor(), transforms.Normalize(MEAN, STD)]
    folder = datasets.ImageFolder(str(root / "low-resolution"), transforms.Compose(steps))
    return DataLoader(folder, batch_size=BATCH, shuffle=True, drop_last=True, num_workers=CORES)


def drop_pages() -> None:
    """Have the page cache let go of the decoded files; it keeps what a process has mapped."""
    gc.collect()
    for path in Path(os.environ[CACHE_VARIABLE]).glob("*.npy"):
        with path.open("rb") as file:
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def rate(batches: Batches) -> float:
    """Images a second."""
    began, images = time.perf_counter(), 0
    for inputs, _ in batches:
        images += len(inputs)
    return images / (time.perf_counter() - began)


def cold_rate(root: Path, number: int) -> float:
    """As `rate`, from files that are read from the disk; says so if they were not."""
    dataset = load(root, in_memory=False)
    drop_pages()
    before = psutil.Process().io_counters().read_bytes
    found = rate(epoch(dataset, number))
    read = psutil.Process().io_counters().read_bytes - before
    if read < 0.9 * dataset.sizes["train"] * 3 * SIDE**2:
        print(f"cold, round {number}: only {read / 1e6:.0f} MB were read from the disk")
    return found


def timed(what: str, make: Callable[[], Dataset]) -> Dataset:
    """The dataset, after a line on how long it took."""
    began = time.perf_counter()
    dataset = make()
    print(f"{what}: {time.perf_counter() - began:.2f} s")
    return dataset


def memory_by_epoch(root: Path) -> list[tuple[float, float]]:
    """After each epoch from disk, in MB: memory that only this process has, and mapped pages of the files in it."""
    torch.set_num_threads(1)
    dataset, process, found = load(root, in_memory=False), psutil.Process(), []
    for number in range(MEMORY_EPOCHS):
        rate(epoch(dataset, number))
        maps = [one for one in process.memory_maps() if one.path.startswith(os.environ[CACHE_VARIABLE])]
        mapped = sum(one.private_clean + one.private_dirty for one in maps)
        found.append(((process.memory_full_info().uss - mapped) / 1e6, sum(one.rss for one in maps) / 1e6))
    return found


def report(rates: dict[str, list[float]]) -> None:
    """A line for each way: median images a second, and its ratio to the loader's in the same round."""
    for way, found in rates.items():
        ratios = [one / other for one, other in zip(found, rates["loader"], strict=True)]
        print(
            f"{way:7} {statistics.median(found):8,.0f} images/s   {statistics.median(ratios):6.2f} x loader "
            f"({min(ratios):.2f} .. {max(ratios):.2f})"
        )


def run(root: Path, n: int) -> None:
    """Write, decode, measure."""
    write_photographs(root, n)
    memory = timed("decoding to memory", lambda: load(root, in_memory=True))
    timed("decoding to disk", lambda: load(root, in_memory=False))
    timed("finding it on disk again", lambda: load(root, in_memory=False))
    ways: dict[str, Callable[[int], float]] = {
        "memory": lambda number: rate(epoch(memory, number)),
        "disk": lambda number: rate(epoch(load(root, in_memory=False), number)),
        "cold": lambda number: cold_rate(root, number),
        "loader": lambda number: rate(image_folder(root)),
    }
    rates: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(ROUNDS):
        for way, measure in ways.items():
            rates[way].append(measure(number))
    report(rates)
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as fresh:
        private, mapped = zip(*fresh.submit(memory_by_epoch, root).result(), strict=True)
    print("own memory after each epoch from disk, MB:", *(f"{one:.0f}" for one in private))
    print("pages of the files beside it, which the system takes back at need, MB:", *(f"{one:.0f}" for one in mapped))


def main() -> None:
    """Print the machine, then the measurements."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 2_000
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", "torchvision", "pillow"))
    print(f"{cpu_name()}, {CORES} cores; Python {platform.python_version()}, {packages}")
    print(f"{n:,} photographs of {WIDTH} x {HEIGHT}, {SIDE} x {SIDE} decoded, batches of {BATCH}, {ROUNDS} rounds")
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        os.environ[CACHE_VARIABLE] = str(Path(folder) / "cache")
        run(Path(folder), n)


if __name__ == "__main__":
    main()
