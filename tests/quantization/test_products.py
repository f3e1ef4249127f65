"""Products of two activations on integer codes against operands that were dequantized first."""

import io
import math

import pytest
import torch

from tests.helpers.narrow import lsq
from tests.quantization.test_offsets_and_planes import OFFSETS, Given, close, offset
from tests.references import lsq as reference
from tune_qat.quantization.products import Product
from tune_qat.quantizers.codes import Codes
from tune_qat.quantizers.lsq import LSQ

SHAPES = {"heads": ((2, 3, 5, 4), (2, 3, 4, 6)), "rows": ((3, 5, 4), (3, 4, 2)), "one term": ((2, 3, 1), (2, 1, 2))}


def product(left: torch.nn.Module | None, right: torch.nn.Module | None) -> Product:
    found = Product("query", "key")
    found.name = "attn.qk"
    found.left_quantizer, found.right_quantizer = left, right  # type: ignore[assignment]
    return found


def lsq_of(bits: int | None) -> LSQ | None:
    return None if bits is None else LSQ(bits=bits, kind="activation", name="attn.qk")


def calibrated(bits: tuple[int | None, int | None], left: torch.Tensor, right: torch.Tensor) -> Product:
    found = product(lsq_of(bits[0]), lsq_of(bits[1])).to(left.dtype)
    found.calibrating = True
    with torch.no_grad():
        found(left, right)
    return found


@pytest.mark.parametrize("of_right", [None, -0.3])
@pytest.mark.parametrize("name", SHAPES)
def test_codes_with_offsets_give_the_product_of_the_values(name: str, of_right: float | None) -> None:
    draw = torch.Generator().manual_seed(0)
    for of_left, _ in OFFSETS:
        codes = [
            Codes(
                torch.randint(-7, 8, shape, generator=draw).double().requires_grad_(),
                torch.tensor(scale, dtype=torch.float64),
                offset(shift),
            )
            for shape, scale, shift in zip(SHAPES[name], (0.2, 0.3), (of_left, of_right), strict=True)
        ]
        found = product(*(Given(one, "activation") for one in codes))(codes[0].code, codes[1].code)
        values = [one.value.requires_grad_() for one in codes]
        expected = values[0] @ values[1]
        close(found, expected)
        upstream = torch.randn(expected.shape, generator=draw, dtype=torch.float64)
        by_codes = torch.autograd.grad((upstream * found).sum(), [one.code for one in codes])
        by_values = torch.autograd.grad((upstream * expected).sum(), values)
        for by_code, by_value, one in zip(by_codes, by_values, codes, strict=True):
            close(by_code, by_value * one.scale)


@pytest.mark.parametrize("bits", [(4, 4), (8, 2), (3, None), (None, 3)])
def test_both_steps_and_both_operands_learn_as_if_dequantized_first(bits: tuple[int | None, int | None]) -> None:
    draw = torch.Generator().manual_seed(1)
    # The left one is unsigned, as probabilities are; no value on the very end of its range.
    left = torch.rand(SHAPES["heads"][0], generator=draw, dtype=torch.float64) + 1e-3
    right = torch.randn(SHAPES["heads"][1], generator=draw, dtype=torch.float64)
    found = calibrated(bits, left, right)
    operands = [left.requires_grad_(), right.requires_grad_()]
    values = []
    for value, quantizer in zip(operands, (found.left_quantizer, found.right_quantizer), strict=True):
        if quantizer is None:
            values.append(value)
            continue
        assert quantizer.signed is (value is right)
        q_n, q_p = reference.grid(quantizer.bits, quantizer.signed)
        scale = 1 / math.sqrt(value[0].numel() * q_p)
        step = lsq(quantizer).step
        values.append(
            reference.quantize_by_autograd(value, step, q_n=q_n, q_p=q_p, gradient_scale=scale, round_first=False)
        )
    output, expected = found(*operands), values[0] @ values[1]
    close(output, expected)
    upstream = torch.randn(expected.shape, generator=draw, dtype=torch.float64)
    wanted = [*operands, *found.parameters()]
    assert len(wanted) == 2 + sum(one is not None for one in bits)
    for got, wished in zip(
        torch.autograd.grad((upstream * output).sum(), wanted),
        torch.autograd.grad((upstream * expected).sum(), wanted),
        strict=True,
    ):
        close(got, wished)


def test_without_quantizers_it_is_the_product_itself() -> None:
    left, right = torch.randn(2, 3, 4), torch.randn(2, 4, 5)
    assert torch.equal(product(None, None)(left, right), left @ right)


# Codes to 255 and 128: 2^24 / (255 * 128) = 514.01.
@pytest.mark.parametrize(("terms", "exact"), [(514, True), (515, False)])
def test_exact_follows_from_the_terms(terms: int, exact: bool) -> None:
    found = calibrated((8, 8), torch.rand(1, 2, terms), torch.randn(1, terms, 2))
    assert found.exact is exact
    assert [(one.role, one.numel) for one in found.operands] == [("query", 2 * terms), ("key", 2 * terms)]


def test_state_goes_through_a_file_of_plain_data() -> None:
    left, right = torch.rand(2, 3, 4), torch.randn(2, 4, 5)
    found = calibrated((4, 4), left, right)
    file = io.BytesIO()
    torch.save(found.state_dict(), file)
    file.seek(0)
    again = product(lsq_of(4), lsq_of(4))
    again.load_state_dict(torch.load(file, weights_only=True))
    assert torch.equal(again(left, right), found(left, right))
    assert (again.features, again.terms, again.exact) == ((12, 20), 4, True)


def test_stays_in_float32_under_autocast() -> None:
    left, right = torch.rand(2, 3, 4), torch.randn(2, 4, 5)
    found = calibrated((4, 4), left, right)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(found(left, right), found.float()(left, right))
