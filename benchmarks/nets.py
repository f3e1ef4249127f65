"""Networks and made-up data for measurements of steps: what is learned does not matter, only what it takes."""

from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from tune_qat import models
from tune_qat.config import Scheme, TrialConfig
from tune_qat.data.spec import CLASSIFICATION, SUPER_RESOLUTION, ModelInput
from tune_qat.data.task import Evaluation, Task
from tune_qat.training.loop import Training
from tune_qat.training.workload import Workload

CLASSES, SCALE, LEARNING_RATE = 10, 3, 1e-4
BATCHES = 8
"""Different batches; an epoch goes through them again and again."""
MANY_EPOCHS = 1_000


@dataclass(frozen=True, kw_only=True)
class Case:
    """A network, a batch of input and how many steps make a measurement."""

    model: str
    batch_size: int
    channels: int
    side: int
    steps: int

    @property
    def name(self) -> str:
        return f"{self.model}, batch {self.batch_size}, {self.side} x {self.side}"

    @property
    def of_labels(self) -> bool:
        return self.model != "espcn"

    @property
    def model_input(self) -> ModelInput:
        """What the network takes."""
        task = CLASSIFICATION if self.of_labels else SUPER_RESOLUTION
        return ModelInput(
            task=task, classes=CLASSES, scale=SCALE, channels=self.channels, height=self.side, width=self.side
        )

    def build(self, init_seed: int = 0) -> nn.Module:
        """The floating-point network."""
        if self.model == "resnet20":
            torch.manual_seed(init_seed)
            return ResNet20()
        return models.build(self.model, self.model_input, init_seed)

    def training(self, backend: str, device: str, learning_rate: float = LEARNING_RATE, bits: int = 4) -> Training:
        """A real trial of this package on the made-up data: SGD; 4/4 bits, or 32 for floating point."""
        config = TrialConfig(
            model=self.model,
            dataset="made up",
            scheme=Scheme(weight_bits=bits, activation_bits=bits),
            optimizer="sgd",
            learning_rate=learning_rate,
            batch_size=self.batch_size,
            epochs=MANY_EPOCHS,
            schedule="constant",
        )
        nothing: Any = SimpleNamespace(spec=SimpleNamespace(name="made up"))  # its name alone: the task is given
        work = MadeUpWorkload(model=self.model, dataset=nothing, build=self.build)
        return Training(config, work, device=device, task=MadeUp(self, device), backend=backend)


@dataclass(frozen=True, kw_only=True)
class MadeUpWorkload(Workload):
    """A workload whose network need not be in the table of models."""

    build: Callable[[int], nn.Module]

    def build_model(self, init_seed: int) -> nn.Module:
        """The floating-point network."""
        return self.build(init_seed)


class MadeUp(Task):
    """Random images with random labels, or random patches: batches that lie ready on the device."""

    metric, unit, sign, worst_metric = "none", "none", 1, 0.0

    def __init__(self, case: Case, device: str) -> None:
        self._of_labels = case.of_labels
        self.model_input = case.model_input
        self.device = torch.device(device)
        self.train_size = case.steps * case.batch_size
        draw = torch.Generator().manual_seed(0)
        shape = (case.batch_size, case.channels, case.side, case.side)
        self.made = [self._batch(shape, draw) for _ in range(BATCHES)]

    def _batch(self, shape: tuple[int, ...], draw: torch.Generator) -> tuple[torch.Tensor, torch.Tensor]:
        if self._of_labels:
            images, target = torch.randn(shape, generator=draw), torch.randint(CLASSES, shape[:1], generator=draw)
        else:
            larger = (*shape[:2], SCALE * shape[2], SCALE * shape[3])
            images, target = torch.rand(shape, generator=draw), torch.rand(larger, generator=draw)
        return images.to(self.device), target.to(self.device)

    @property
    def normalisation(self) -> tuple[list[float], list[float]]:
        """Of no images: the batches are what a model takes."""
        return [0.0], [1.0]

    def batch(self, seed: int, epoch: int, index: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """One of the batches that were made."""
        return self.made[int(index[0]) % BATCHES]

    def output_shape(self, inputs: torch.Tensor) -> tuple[int, ...]:
        """The shape of the targets' predictions."""
        return (len(inputs), CLASSES) if self._of_labels else tuple(self.made[0][1].shape)

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Cross-entropy, or mean squared error."""
        return functional.cross_entropy(output, target) if self._of_labels else functional.mse_loss(output, target)

    def batch_metric(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        """Accuracy, or PSNR."""
        if self._of_labels:
            return (output.argmax(1) == target).float().mean()
        return -10 * torch.log10(functional.mse_loss(output.clamp(0, 1), target))

    def evaluate(self, predict: Callable[[torch.Tensor], torch.Tensor], split: str) -> Evaluation:
        """On the first batch; not part of what is timed."""
        inputs, target = self.made[0]
        output = predict(inputs)
        loss, metric = float(self.loss(output, target)), float(self.batch_metric(output, target))
        return Evaluation(loss=loss, metric=metric, top5=None, n=len(inputs), correct=None)

    def trivial(self, split: str) -> Evaluation:
        """Equal odds, or grey."""
        _, target = self.made[0]
        constant = torch.zeros(len(target), CLASSES, device=self.device)
        loss = self.loss(constant if self._of_labels else torch.full_like(target, 0.5), target)
        return Evaluation(loss=float(loss), metric=0.0, top5=None, n=len(target), correct=None)

    def baselines(self, split: str) -> dict[str, float]:
        """None."""
        return {}


class Block(nn.Module):
    """Two 3 x 3 convolutions and a shortcut without parameters (option A of He et al., CVPR 2016, section 4.2)."""

    def __init__(self, channels_in: int, channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.stride, self.more = stride, channels - channels_in

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """(b, c, h, w) to (b, channels, h / stride, w / stride)."""
        inner = functional.relu(self.bn1(self.conv1(value)))
        shortcut = value[:, :, :: self.stride, :: self.stride]
        if self.more:
            shortcut = functional.pad(shortcut, (0, 0, 0, 0, self.more // 2, self.more - self.more // 2))
        return functional.relu(self.bn2(self.conv2(inner)) + shortcut)


class ResNet20(nn.Sequential):
    """ResNet-20 for CIFAR-10: three stages of three blocks with 16, 32 and 64 channels; 272,474 parameters."""

    def __init__(self) -> None:
        widths = [16] * 4 + [32] * 3 + [64] * 3
        strides = [1, 1, 1, 2, 1, 1, 2, 1, 1]
        blocks = [Block(*sizes) for sizes in zip(widths, widths[1:], strides, strict=False)]
        stem = [nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16), nn.ReLU()]
        super().__init__(*stem, *blocks, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, CLASSES))
