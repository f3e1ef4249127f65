"""What the speed on a GPU may not cost: sums of codes that are exact in TF32, and a compiled step as the eager one.

Networks with batch norm have no such step: their statistics are rounded in another order, a value that is a rounding
away from a tie gets another code, and from there on everything is another value. A millionth on one scale does the same
in eager torch.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch.nn import functional

from benchmarks.nets import Case
from tune_qat.config import EAGER, INDUCTOR

LARGEST_CODE = 2047
"""TF32 has 11 bits for a factor."""
EXACT_LIMIT = 2**24
STEP_TOLERANCE = 1e-6
"""Of a float32 step, relative to each tensor's largest value."""
IMAGES, SIDE = 4, 20


@dataclass(frozen=True, kw_only=True)
class Sum:
    """A convolution or linear layer with the largest codes of its operands."""

    channels: int
    kernel: int
    inputs: int
    weights: int

    @property
    def name(self) -> str:
        what = "linear" if not self.kernel else f"{self.kernel} x {self.kernel} convolution"
        return f"{what}, {self.channels} channels, codes up to {self.inputs} and {self.weights}"

    @property
    def fan_in(self) -> int:
        return self.channels * max(1, self.kernel) ** 2


SUMS = (
    Sum(channels=64, kernel=3, inputs=15, weights=8),
    Sum(channels=512, kernel=3, inputs=15, weights=8),
    Sum(channels=3, kernel=7, inputs=255, weights=128),
    Sum(channels=512, kernel=0, inputs=255, weights=127),
    Sum(channels=64, kernel=3, inputs=LARGEST_CODE, weights=14),
    Sum(channels=64, kernel=1, inputs=LARGEST_CODE, weights=128),
    Sum(channels=4096, kernel=0, inputs=LARGEST_CODE, weights=2),
)


def codes(shape: tuple[int, ...], largest: int, draw: torch.Generator) -> torch.Tensor:
    """Integers in [-largest, largest], int64, a quarter of them at an end."""
    found = torch.randint(-largest, largest + 1, shape, generator=draw)
    ends = torch.rand(shape, generator=draw) < 0.25
    return torch.where(ends, found.sign() * largest, found)


def exact_sums(one: Sum) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Inputs, weights and the sums of their products, int64 on the CPU; `ValueError` if float32 could not hold them."""
    if one.fan_in * one.inputs * one.weights > EXACT_LIMIT:
        raise ValueError(f"{one.name}: sums beyond the integers that float32 holds")
    draw = torch.Generator().manual_seed(0)
    side = one.kernel and SIDE
    shape = (IMAGES, one.channels, side, side) if side else (IMAGES * SIDE, one.channels)
    inputs = codes(shape, one.inputs, draw)
    weights = codes((32, one.channels, *(one.kernel,) * (2 if side else 0)), one.weights, draw)
    if not side:
        return inputs, weights, inputs @ weights.T
    columns = functional.unfold(inputs.double(), one.kernel, padding=one.kernel // 2).long()
    return inputs, weights, (weights.flatten(1) @ columns).unflatten(2, shape[2:])


def device_sums(inputs: torch.Tensor, weights: torch.Tensor, device: str, compiled: bool) -> torch.Tensor:
    """The same in float32 on the device, where TF32 may be used."""

    def sums(inputs: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        if inputs.dim() == 2:
            return functional.linear(inputs, weights)
        return functional.conv2d(inputs, weights, padding=weights.shape[2] // 2)

    run: Callable[..., torch.Tensor] = torch.compile(sums, dynamic=False) if compiled else sums
    return run(inputs.float().to(device), weights.float().to(device)).cpu()


def wrong_sums(one: Sum, device: str, compiled: bool) -> int:
    """How many sums on the device are not the integer they should be."""
    inputs, weights, expected = exact_sums(one)
    found = device_sums(inputs, weights, device, compiled)
    return int((found.double() != expected.double()).sum())


def rounding_of_fractions(device: str) -> float:
    """Largest relative error of a product of fractions: 1e-4 and more says that TF32 is in use, 1e-6 that it is not."""
    draw = torch.Generator().manual_seed(0)
    inputs, weights = (torch.rand(512, 512, generator=draw) for _ in range(2))
    expected = inputs.double() @ weights.double().T
    return float(((device_sums(inputs, weights, device, False) - expected) / expected).abs().max())


def step_difference(case: Case, device: str) -> float:
    """Largest difference after one step between eager and compiled, relative to each tensor's largest value."""
    one_step = replace(case, steps=1)
    states = []
    for backend in (EAGER, INDUCTOR):
        training = one_step.training(backend, device, learning_rate=0.1)
        next(training.epochs())
        states.append([parameter.detach().clone() for parameter in training.model.parameters()])
    return max(float((one - other).abs().max() / one.abs().max()) for one, other in zip(*states, strict=True))
