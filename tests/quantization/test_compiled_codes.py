"""The operation behind every uniform quantizer, compiled, against the same plain loop as the eager one."""

import pytest
import torch

from tests.quantizers.test_uniform import Codes, check, check_no_large_sums
from tune_qat.quantizers import uniform
from tune_qat.training.compiler import usable

# One process compiles; the others find what it compiled.
pytestmark = pytest.mark.xdist_group("inductor")


@pytest.fixture(scope="module")
def codes() -> Codes:
    assert usable("inductor", torch.device("cpu")) == ("inductor", "")
    # All of it, or an error: nothing may run eagerly in between.
    return torch.compile(uniform.codes, dynamic=False, fullgraph=True)


@pytest.mark.parametrize(
    ("signed", "round_first", "per_channel"), [(True, False, True), (False, True, False)], ids=["channel", "tensor"]
)
def test_equals_the_plain_loop(codes: Codes, signed: bool, round_first: bool, per_channel: bool) -> None:
    check(codes, 4, signed, round_first=round_first, per_channel=per_channel)


def test_the_steps_gradient_is_no_difference_of_two_large_sums(codes: Codes) -> None:
    check_no_large_sums(codes)
