"""LSQ+ beside torch's learnable fake quantization, where that has the same gradients."""

from typing import Any

import pytest
import torch
from torch import nn

from tune_qat.quantizers.lsq_plus import LSQPlusActivation

FEATURES = 50


def swish() -> torch.Tensor:
    """Activations (8, FEATURES) with a short negative tail."""
    draw = torch.randn((8, FEATURES), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    return nn.functional.silu(3 * draw)


@pytest.mark.parametrize(
    ("activations", "zero_point"),
    [("signed_asymmetric", -5), ("signed_asymmetric", 3), ("unsigned_asymmetric", 0), ("unsigned_asymmetric", 5)],
)
def test_equals_torchs_operation_where_that_is_right(activations: str, zero_point: int) -> None:
    # Torch rounds first, so values between the ends and half a step beyond are left out; its offset is an integer. The
    # operation per channel, because the one per tensor has a wrong gradient for zero points below 0.
    options: dict[str, Any] = {"bits": 4, "kind": "activation", "name": "layer", "ste": "clip_then_round"}
    quantizer, step = LSQPlusActivation(activations=activations, init="min_max", **options).double(), 0.25
    quantizer.calibrate(swish())
    offset = quantizer.offset
    assert offset is not None
    with torch.no_grad():
        quantizer.step.fill_(step)
        offset.fill_(-zero_point * step)
    ratio = swish().flatten() / step + zero_point
    beyond = (ratio - quantizer.qmax, quantizer.qmin - ratio)
    value = swish().flatten()[~((beyond[0].abs() < 0.51) | (beyond[1].abs() < 0.51))][None].requires_grad_()
    upstream = torch.randn(value.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    codes = quantizer(value)
    ours = torch.autograd.grad((upstream * codes.code * codes.scale).sum(), (value, quantizer.step, offset))
    theirs = value.detach().float().requires_grad_()
    scale, point = (torch.tensor([one], requires_grad=True) for one in (step, float(zero_point)))
    output = torch._fake_quantize_learnable_per_channel_affine(
        theirs, scale, point, 0, quantizer.qmin, quantizer.qmax, 1.0
    )
    by_value, by_scale, by_point = torch.autograd.grad((upstream.float() * output).sum(), (theirs, scale, point))
    factor = (value.shape[1] * quantizer.qmax) ** -0.5
    # Float32 sums of 400 terms of order 10. With beta = -zero_point * step: the chain rule.
    torch.testing.assert_close(codes.value.float(), output.detach(), rtol=0, atol=1e-5)
    torch.testing.assert_close(ours[0].float(), by_value, rtol=0, atol=1e-6)
    torch.testing.assert_close(ours[2].float() / factor, -by_point[0] / step, rtol=1e-4, atol=1e-3)
    by_step = by_scale[0] - by_point[0] * zero_point / step
    torch.testing.assert_close(ours[1].float() / factor, by_step, rtol=1e-4, atol=1e-3)
