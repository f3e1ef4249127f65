"""The sign that is never zero, and what passes it."""

import math

import pytest
import torch

from tune_qat.quantizers.binary import clipped_sign, sign, straight_through


def test_the_sign_of_zero_is_one_and_what_is_no_number_stays_so() -> None:
    value = torch.tensor([-2.0, -1e-45, -0.0, 0.0, 1e-45, 3.0, math.inf, -math.inf, math.nan])
    found = sign(value)
    assert found[:-1].tolist() == [-1, -1, 1, 1, 1, 1, 1, -1] and found[-1].isnan()
    assert sign(value.double()).dtype == torch.float64


@pytest.mark.parametrize(("closed", "at_the_ends"), [(True, 1.0), (False, 0.0)])
def test_the_gradient_of_the_clipped_sign(closed: bool, at_the_ends: float) -> None:
    beyond = math.nextafter(1, 2)
    value = torch.tensor([-beyond, -1, -0.999, 0, 0.999, 1, beyond], dtype=torch.float64, requires_grad=True)
    found = clipped_sign(value, closed=closed)
    assert found.tolist() == [-1, -1, -1, 1, 1, 1, 1]
    (gradient,) = torch.autograd.grad((3 * found).sum(), value)
    assert gradient.tolist() == [0, 3 * at_the_ends, 3, 3, 3, 3 * at_the_ends, 0]


def test_straight_through_gives_the_codes_and_divides_by_the_scale() -> None:
    value = torch.tensor([0.3, -4.0], dtype=torch.float64, requires_grad=True)
    code, scale = torch.tensor([5.0, -2.0], dtype=torch.float64), torch.tensor(0.5, dtype=torch.float64)
    found = straight_through(value, code, scale)
    assert found.tolist() == [5, -2] and found is not code
    (gradient,) = torch.autograd.grad((found * scale * torch.tensor([7.0, 9.0])).sum(), value)
    assert gradient.tolist() == [7, 9]
    assert not straight_through(value.detach(), code, scale).requires_grad
