"""Quantization-aware training as people write it: a DataLoader, transforms, textbook LSQ, an epoch at a time."""

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from benchmarks import textbook
from tune_qat import models
from tune_qat.data.photos import SCENES, TEST_SCENES, VAL_SCENES, scene_files
from tune_qat.data.spec import CLASSIFICATION, SUPER_RESOLUTION, ModelInput
from tune_qat.data.splits import held_out, shuffled

VAL_IMAGES, EVALUATION_BATCH = 5_000, 1_000
Loaders = tuple[DataLoader[Any], DataLoader[Any]]
ADAPTIVE = {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}


def train(config: Mapping[str, Any], data_dir: str | None, device: str = "cpu") -> Iterator[dict[str, float]]:
    """Train one configuration, in the form of `TrialConfig.to_dict()`; loss and metric after each epoch."""
    loaders = {"mnist": mnist, "digits": digits, "photos": photographs}[config["dataset"]](config, data_dir)
    return train_on(config, *loaders, device)


def train_on(
    config: Mapping[str, Any], training: DataLoader[Any], validation: DataLoader[Any], device: str
) -> Iterator[dict[str, float]]:
    """The loop itself."""
    torch.manual_seed(config["seed"])
    labels = config["model"] != "espcn"
    example, _ = next(iter(training))
    model = textbook.quantized(build(config, example), config["scheme"]["weight_bits"], example.to(device))
    optimizer = make_optimizer(config, model)
    steps = config["epochs"] * len(training)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    criterion = nn.CrossEntropyLoss() if labels else nn.MSELoss()
    before = time.process_time()
    for epoch in range(config["epochs"]):
        model.train()
        running_loss = 0.0
        for inputs, target in training:
            inputs, target = inputs.to(device), target.to(device)
            optimizer.zero_grad()
            loss = criterion(model(inputs), target)
            loss.backward()
            optimizer.step()
            schedule.step()
            running_loss += loss.item()
        metric = accuracy(model, validation, device) if labels else psnr(model, validation, device)
        yield {
            "epoch": epoch + 1,
            "train_loss": running_loss / len(training),
            "metric": metric,
            "train_cpu_s": time.process_time() - before,
        }


def build(config: Mapping[str, Any], example: torch.Tensor) -> nn.Module:
    """The floating-point network of the configuration."""
    labels = config["model"] != "espcn"
    model_input = ModelInput(
        task=CLASSIFICATION if labels else SUPER_RESOLUTION,
        channels=example.shape[1],
        height=example.shape[2],
        width=example.shape[3],
        classes=10,
        scale=config["dataset_options"].get("scale"),
    )
    return models.build(config["model"], model_input, config["init_seed"])


def make_optimizer(config: Mapping[str, Any], model: nn.Module) -> torch.optim.Optimizer:
    """Torch's optimizer of that name."""
    given, rate = config["optimizer_options"], config["learning_rate"]
    if config["optimizer"] in ADAPTIVE:
        betas = (given["beta1"], given["beta2"])
        decay = given["weight_decay"]
        return ADAPTIVE[config["optimizer"]](model.parameters(), lr=rate, betas=betas, weight_decay=decay)
    momentum = given.get("momentum", 0.0)
    return torch.optim.SGD(model.parameters(), lr=rate, momentum=momentum, nesterov=momentum > 0)


@torch.no_grad()
def accuracy(model: nn.Module, loader: DataLoader[Any], device: str) -> float:
    """Share of right answers."""
    model.eval()
    correct = sum(int((model(inputs.to(device)).argmax(1) == target.to(device)).sum()) for inputs, target in loader)
    return correct / len(loader.dataset)  # type: ignore[arg-type]  # of a Dataset with a length


@torch.no_grad()
def psnr(model: nn.Module, loader: DataLoader[Any], device: str) -> float:
    """Mean over whole images, in dB."""
    model.eval()
    errors = [functional.mse_loss(model(low.to(device)).clamp(0, 1), high.to(device)) for low, high in loader]
    return float((-10 * torch.log10(torch.stack(errors))).mean())


def mnist(config: Mapping[str, Any], data_dir: str | None) -> Loaders:
    """MNIST from torchvision: a training set of `train_limit` images, and one for validation."""
    from torchvision import datasets, transforms

    transform = transforms.Compose([transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))])
    images = datasets.MNIST(str(data_dir), train=True, transform=transform)
    limit = config["dataset_options"]["train_limit"] or len(images) - VAL_IMAGES
    return labelled(images, config["batch_size"], limit, VAL_IMAGES)


def digits(config: Mapping[str, Any], data_dir: str | None) -> Loaders:
    """The digits of scikit-learn, enlarged to 28 x 28; as many for validation as in this package."""
    from sklearn.datasets import load_digits

    source = load_digits()
    enlarged = functional.interpolate(torch.tensor(source.images).float().unsqueeze(1) / 16, scale_factor=3)
    images = TensorDataset(functional.pad(enlarged, (2, 2, 2, 2)), torch.tensor(source.target))
    held_out = round(0.2 * len(images))
    limit = config["dataset_options"]["train_limit"] or len(images) - 2 * held_out
    return labelled(images, config["batch_size"], limit, held_out)


def labelled(images: Dataset[Any], batch_size: int, limit: int, held_out: int) -> Loaders:
    """The first `held_out` images for validation, the next `limit` for training."""
    training, validation = Subset(images, range(held_out, held_out + limit)), Subset(images, range(held_out))
    return (
        DataLoader(training, batch_size=batch_size, shuffle=True, drop_last=True),
        DataLoader(validation, batch_size=EVALUATION_BATCH),
    )


class Photographs(Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Luma of photographs at high and low resolution; random patches of them, or whole."""

    def __init__(self, files: list[Path], options: Mapping[str, Any], *, patches: bool) -> None:
        self.scale, self.patch = options["scale"], options["patch_size"]
        self.per_image = options["patches_per_image"] if patches else 0
        self.pairs = [self._pair(path, 0 if patches else options["evaluation_crop"]) for path in files]

    def _pair(self, path: Path, crop: int) -> tuple[torch.Tensor, torch.Tensor]:
        image = Image.open(path).convert("YCbCr").getchannel(0)
        width, height = (min(side, crop or side) // self.scale * self.scale for side in image.size)
        left, top = (image.width - width) // 2, (image.height - height) // 2
        high = image.crop((left, top, left + width, top + height))
        low = high.resize((width // self.scale, height // self.scale), Image.Resampling.BICUBIC)
        as_tensors = [torch.from_numpy(np.array(one)).float().div(255).unsqueeze(0) for one in (low, high)]
        return as_tensors[0], as_tensors[1]

    def __len__(self) -> int:
        return len(self.pairs) * max(1, self.per_image)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        if not self.per_image:
            return self.pairs[index]
        low, high = self.pairs[index // self.per_image]
        top, left = (int(torch.randint(side - self.patch + 1, ())) for side in low.shape[1:])
        low = low[:, top : top + self.patch, left : left + self.patch]
        scale, side = self.scale, self.patch * self.scale
        high = high[:, top * scale : top * scale + side, left * scale : left * scale + side]
        if torch.rand(()) < 0.5:
            low, high = low.flip(2), high.flip(2)
        if torch.rand(()) < 0.5:
            low, high = low.transpose(1, 2), high.transpose(1, 2)
        return low, high


def photographs(config: Mapping[str, Any], data_dir: str | None) -> Loaders:
    """The photographs of dataset `photos`, split as there."""
    options, scenes = config["dataset_options"], sorted(SCENES)
    rest = shuffled(len(scenes), options["split_seed"])[TEST_SCENES:]
    val, train = held_out(rest, VAL_SCENES, options)
    files = {"train": train, "val": val}
    paths = {name: [path for index in found for path in scene_files(scenes[index])] for name, found in files.items()}
    training = Photographs(paths["train"], options, patches=True)
    validation = Photographs(paths["val"], options, patches=False)
    return (
        DataLoader(training, batch_size=config["batch_size"], shuffle=True, drop_last=True),
        DataLoader(validation, batch_size=1),
    )
