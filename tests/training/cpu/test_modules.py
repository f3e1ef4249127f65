"""Modules in place of torch's: the same values and gradients, bit for bit."""

import copy
from typing import Any

import pytest
import torch
from torch import nn

from tune_qat.training.compiler import compiled
from tune_qat.training.cpu import replace_modules
from tune_qat.training.cpu.pooling import MaxPool2d
from tune_qat.training.cpu.tanh import Tanh

WINDOWS: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "tiles": ({"kernel_size": 2}, (3, 4, 8, 6)),
    "tiles, wider than a byte": ({"kernel_size": 2}, (1, 2, 4, 260)),
    "tiles, as wide as a byte": ({"kernel_size": 2}, (1, 2, 4, 254)),
    "tiles, oblong": ({"kernel_size": (2, 3), "stride": (2, 3)}, (3, 4, 8, 6)),
    "one pixel left over": ({"kernel_size": 2}, (3, 4, 9, 7)),
    "the same, rounded up": ({"kernel_size": 2, "ceil_mode": True}, (3, 4, 9, 7)),
    "overlapping": ({"kernel_size": 3, "stride": 2, "padding": 1}, (3, 4, 9, 8)),
    "overlapping, rounded up": ({"kernel_size": 3, "stride": 2, "ceil_mode": True}, (3, 4, 8, 6)),
    "overlapping, wider than the image": ({"kernel_size": 5, "stride": 2, "padding": 2}, (3, 4, 3, 3)),
    "dilated": ({"kernel_size": 2, "dilation": 2}, (3, 4, 8, 8)),
}
IMAGES = {
    "random": lambda shape: torch.randn(shape),
    "ties": lambda shape: torch.randint(-1, 2, shape).float(),
    "constant": lambda shape: torch.zeros(shape),
}


def check(theirs: nn.Module, ours: nn.Module, images: torch.Tensor) -> None:
    """Values and gradients."""
    both = []
    for module in (theirs, ours):
        x = images.clone(memory_format=torch.preserve_format).requires_grad_()
        output = module(x)
        upstream = torch.arange(output.numel(), dtype=output.dtype).reshape(output.shape) + 1
        both.append((output, torch.autograd.grad((output * upstream).sum(), x)[0]))
    for expected, found in zip(*both, strict=True):
        assert torch.equal(found, expected)


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=["first", "last"])
@pytest.mark.parametrize("kind", IMAGES)
@pytest.mark.parametrize("window", WINDOWS)
def test_max_pooling(window: str, kind: str, layout: torch.memory_format) -> None:
    torch.manual_seed(0)
    options, shape = WINDOWS[window]
    theirs = nn.MaxPool2d(**options)
    check(theirs, MaxPool2d(theirs), IMAGES[kind](shape).contiguous(memory_format=layout))


def test_the_check_sees_where_the_gradient_of_a_tie_goes() -> None:
    class Last(nn.Module):
        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return nn.functional.max_pool2d(images.flip(2, 3), 2).flip(2, 3)

    with pytest.raises(AssertionError):
        check(nn.MaxPool2d(2), Last(), torch.zeros(1, 1, 4, 4))


@pytest.mark.parametrize("window", ["tiles", "overlapping"])
def test_a_window_with_a_nan_has_no_maximum(window: str) -> None:
    # Divergence has to reach the loss.
    options, shape = WINDOWS[window]
    images = torch.zeros(shape)
    images[0, 0, 3, 3] = torch.nan
    theirs = nn.MaxPool2d(**options)
    found, expected = MaxPool2d(theirs)(images), theirs(images)
    assert torch.equal(found.isnan(), expected.isnan()) and found.isnan().any()


@pytest.mark.parametrize("window", WINDOWS)
def test_a_gradient_that_is_not_a_number_stays_one(window: str) -> None:
    options, shape = WINDOWS[window]
    theirs = nn.MaxPool2d(**options)
    gradients = []
    for module in (theirs, MaxPool2d(theirs)):
        images = torch.zeros(shape)
        images[0, 0, 2, 2] = torch.nan
        output = module(images.requires_grad_())
        gradients.append(torch.autograd.grad((output * output).sum(), images)[0])
    # Torch's is that of the NaN alone; here a whole window may have it.
    expected, found = gradients
    assert expected.isnan().any() and found[expected.isnan()].isnan().all()


def test_images_without_a_batch() -> None:
    images = torch.randn(3, 4, 6)
    assert torch.equal(MaxPool2d(nn.MaxPool2d(2))(images), nn.MaxPool2d(2)(images))


class All(nn.Module):
    """Windows that tile, windows that do not, and a tangent."""

    def __init__(self) -> None:
        super().__init__()
        self.tiling, self.overlapping, self.tanh = nn.MaxPool2d(2), nn.MaxPool2d(3, stride=2, padding=1), nn.Tanh()

    def forward(self, *images: torch.Tensor) -> tuple[torch.Tensor, ...]:
        parts = (self.tiling, self.overlapping, self.tanh)
        return tuple(part(value) for part, value in zip(parts, images, strict=True))


@pytest.mark.xdist_group("inductor")
def test_compiled() -> None:
    torch.manual_seed(0)
    images = torch.randint(-2, 3, (2, 3, 8, 6)).float()
    ours = compiled(replace_modules(All()), torch.device("cpu"))
    results = []
    for module in (All(), ours):
        leaves = [images.clone().requires_grad_() for _ in range(3)]
        outputs = module(*leaves)
        total = sum((output * torch.arange(output.numel()).reshape(output.shape)).sum() for output in outputs)
        results.append([*outputs, *torch.autograd.grad(total, leaves)])
    for index, (expected, found) in enumerate(zip(*results, strict=True)):
        # Pooling exactly. A compiler's tangent may differ in its last digit, 6e-8, and 1 - tanh^2 in twice that; it is
        # multiplied by up to 288.
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-4 if index % 3 == 2 else 0)


def test_tanh() -> None:
    torch.manual_seed(0)
    check(nn.Tanh(), Tanh(), 3 * torch.randn(4, 5, 6))


def test_replaced_wherever_they_are_and_nothing_else() -> None:
    class OwnPool(nn.MaxPool2d):
        pass

    model = nn.Sequential(
        nn.Sequential(nn.Conv2d(1, 2, 3), nn.Tanh(), nn.MaxPool2d(2)),
        OwnPool(2),
        nn.MaxPool2d(2, return_indices=True),
    )
    before = copy.deepcopy(model)
    assert replace_modules(model) is model
    assert [type(module) for module in model[0].children()] == [nn.Conv2d, Tanh, MaxPool2d]
    assert [type(module) for module in model[1:].children()] == [OwnPool, nn.MaxPool2d]
    assert model.state_dict().keys() == before.state_dict().keys()
    images = torch.randn(2, 1, 10, 10)
    assert torch.equal(model[0](images), before[0](images))
