"""The peers compute what we compute: a ratio of speeds compares equals."""

import pytest
import torch
from torch import nn

from benchmarks import textbook
from tune_qat.quantizers import uniform

BITS, QMIN, QMAX, STEP, SCALE = 4, -8, 7, 0.25, 0.01


def values(dtype: torch.dtype) -> torch.Tensor:
    """From far below to far above the range, no ratio near a tie or a bound, where subgradients may differ."""
    ratios = torch.arange(-12, 12, dtype=dtype)[:, None] + torch.tensor([-0.4, -0.13, 0.21, 0.38], dtype=dtype)
    return (ratios * STEP).flatten().requires_grad_()


def upstream(value: torch.Tensor) -> torch.Tensor:
    return torch.randn(value.shape, generator=torch.Generator().manual_seed(0), dtype=value.dtype)


def ours(value: torch.Tensor, step: torch.Tensor, *, round_first: bool) -> tuple[torch.Tensor, ...]:
    code = uniform.codes(value, step, QMIN, QMAX, gradient_scale=SCALE, round_first=round_first)
    # The gradient that arrives at codes is the step times the dequantized value's.
    gradients = torch.autograd.grad(code, (value, step), upstream(value) * step.detach())
    return (code * step).detach(), *gradients


def peer(output: torch.Tensor, value: torch.Tensor, step: torch.Tensor) -> tuple[torch.Tensor, ...]:
    return output.detach(), *torch.autograd.grad(output, (value, step), upstream(value))


def test_the_textbook_form_is_the_same_function() -> None:
    value, step = values(torch.float64), torch.tensor(STEP, dtype=torch.float64, requires_grad=True)
    output = textbook.fake_quantize(value, step, QMIN, QMAX, SCALE)
    for theirs, expected in zip(peer(output, value, step), ours(value, step, round_first=False), strict=True):
        torch.testing.assert_close(theirs, expected, rtol=1e-12, atol=1e-12)  # float64 rounding of other orders


def test_the_native_operation_of_torch_is_the_same_function_rounding_first() -> None:
    value, step = values(torch.float32), torch.tensor([STEP], requires_grad=True)
    output = textbook.torch_native(step, QMIN, QMAX, SCALE)(value)
    for theirs, expected in zip(peer(output, value, step), ours(value, step, round_first=True), strict=True):
        torch.testing.assert_close(theirs, expected, rtol=1e-5, atol=1e-6)  # float32 sums in another order


@pytest.mark.skipif(bool(textbook.brevitas_problem()), reason=textbook.brevitas_problem())
@pytest.mark.filterwarnings("ignore")  # of other libraries
def test_brevitas_gives_the_same_values() -> None:
    module = textbook.brevitas(STEP, BITS)
    value = values(torch.float32)
    output = module(value)
    expected = ours(value, torch.tensor(STEP, requires_grad=True), round_first=True)
    torch.testing.assert_close(output.detach(), expected[0], rtol=1e-6, atol=1e-6)  # its scale is rounded otherwise
    (gradient,) = torch.autograd.grad(output, value, upstream(value))
    torch.testing.assert_close(gradient, expected[1], rtol=1e-6, atol=1e-6)


def test_first_and_last_layer_keep_eight_bits_and_inputs_their_sign() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Conv2d(4, 4, 3), nn.Flatten(), nn.Linear(16, 2))
    textbook.quantized(model, BITS, torch.randn(2, 1, 6, 6))
    layers = [module for module in model.modules() if isinstance(module, textbook.TextbookLayer)]
    assert [(layer.inputs.bits, layer.weight.bits) for layer in layers] == [(8, 8), (4, 4), (8, 8)]
    assert [layer.inputs.qmin for layer in layers] == [-128, 0, -128]
    assert all(layer.weight.started and layer.inputs.started for layer in layers)
