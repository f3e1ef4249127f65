"""A whole trial in one process, without Ray: this package beside the loop that people write."""

import time
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch.utils.data import DataLoader, Dataset

from benchmarks import textbook_loop
from benchmarks.measure import Report, interleaved, synchronize, table
from tune_qat.config import Scheme, TrialConfig
from tune_qat.data import resolve_options
from tune_qat.data.labelled import labelled_dataset
from tune_qat.data.spec import LabelledImages
from tune_qat.data.table import DATASETS
from tune_qat.training.loop import Training
from tune_qat.training.workload import Workload

CLASSES, BATCH, EVALUATION_BATCH = 10, 128, 1_000
PEER = "textbook loop"
Arrays = dict[str, LabelledImages]


def made_up(images: int) -> Arrays:
    """Splits in the shape of MNIST, an eighth of them for evaluation: noise on a pattern of the class."""
    draw = np.random.default_rng(0)
    patterns = draw.integers(0, 128, (CLASSES, 1, 28, 28))
    found = {}
    for split, n in (("train", images), ("val", images // 8), ("test", CLASSES)):
        labels = draw.integers(0, CLASSES, n)
        noisy = patterns[labels] + draw.integers(0, 128, (n, 1, 28, 28))
        found[split] = LabelledImages(images=noisy.astype(np.uint8), labels=labels)
    return found


def config(epochs: int) -> TrialConfig:
    """LeNet-5, W4A4, Adam."""
    return TrialConfig(
        model="lenet5",
        dataset="mnist",
        dataset_options=resolve_options(DATASETS["mnist"], {}),
        scheme=Scheme(weight_bits=4, activation_bits=4),
        optimizer="adam",
        optimizer_options={"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "weight_decay": 0.0},
        learning_rate=1e-3,
        batch_size=BATCH,
        epochs=epochs,
    )


class AsFiles(Dataset[tuple[torch.Tensor, int]]):
    """As torchvision's MNIST gives it: an image and two transforms for every sample."""

    def __init__(self, split: LabelledImages) -> None:
        from torchvision import transforms

        self._split = split
        self._transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.5,), (0.25,))])

    def __len__(self) -> int:
        return len(self._split.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        image: Any = Image.fromarray(self._split.images[index, 0])
        return self._transform(image), int(self._split.labels[index])


def ours(splits: Arrays, epochs: int, backend: str, device: str) -> tuple[float, float]:
    """Seconds from the arrays to the last epoch, and the last accuracy."""
    began = time.perf_counter()
    spec = DATASETS["mnist"]
    members = {name: range(len(split.labels)) for name, split in splits.items()}
    options = resolve_options(spec, {})
    dataset = labelled_dataset(
        spec,
        options,
        splits,
        classes=CLASSES,
        content="made up",
        members=members,
        train_index=np.arange(len(splits["train"].labels)),
    )
    training = Training(config(epochs), Workload(model="lenet5", dataset=dataset), device=device, backend=backend)
    *_, last = training.epochs()
    synchronize(device)
    return time.perf_counter() - began, last.val_metric or 0.0


def peer(splits: Arrays, epochs: int, device: str) -> tuple[float, float]:
    """The same of the textbook loop."""
    began = time.perf_counter()
    training = DataLoader(AsFiles(splits["train"]), batch_size=BATCH, shuffle=True, drop_last=True)
    validation = DataLoader(AsFiles(splits["val"]), batch_size=EVALUATION_BATCH)
    *_, last = textbook_loop.train_on(config(epochs).to_dict(), training, validation, device)
    synchronize(device)
    return time.perf_counter() - began, last["metric"]


def report(images: int, epochs: int, backends: Sequence[str], rounds: int, out: Report, device: str) -> None:
    """The table: seconds, speed to the peer's, accuracy, and on a GPU the largest memory."""
    splits = made_up(images)
    accuracy: dict[str, float] = {}
    memory: dict[str, float] = {}

    def run(arm: str) -> float:
        if device != "cpu":
            torch.cuda.reset_peak_memory_stats()
        found = peer(splits, epochs, device) if arm == PEER else ours(splits, epochs, arm.split()[1], device)
        memory[arm] = torch.cuda.max_memory_allocated() / 1e6 if device != "cpu" else 0.0
        accuracy[arm] = found[1]
        return found[0]

    names = [PEER, *(f"ours {backend}" for backend in backends)]
    found = interleaved({name: partial(run, name) for name in names}, rounds)
    rows = [
        [name, found.spread(name), found.ratio(PEER, name), f"{accuracy[name]:.3f}", f"{memory[name]:.0f}"]
        for name in names
    ]
    out.add(f"## A whole trial without Ray: LeNet-5, {images:,} images of 28 x 28, {epochs} epochs, batch {BATCH}")
    out.add(table(["", "seconds", f"{PEER} / it", "accuracy", "GPU memory, MB"], rows))
    out.check(found.values[PEER])
