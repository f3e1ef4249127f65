"""How quantizers are run against plain ones."""

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch

from tune_qat.quantizers.base import Quantizer
from tune_qat.quantizers.codes import Codes

DEGENERATE = {
    "zero": torch.zeros((4, 6)),
    "constant": torch.full((4, 6), 0.7),
    "negative constant": torch.full((4, 6), -0.7),
    "one element": torch.tensor([[0.3]]),
    "tiny": torch.full((4, 6), 1e-30),
    "huge": 1e20 * torch.randn((4, 6), generator=torch.Generator().manual_seed(2)),
}
DEGENERATE_NUMBERS = ([0.0] * 4, [3.0] * 4, [-1e20] * 4, [1e20] * 4, [5.0], [1e-30, -1e-30], [1e20, -1e20], [-7.0])


@contextmanager
def case(*what: object) -> Iterator[None]:
    """One turn of a loop: what fails within it says in which."""
    try:
        yield
    except BaseException as error:  # pytest's own failures are no `Exception`
        error.add_note(f"case: {', '.join(map(str, what))}")
        raise


def make(
    build: Any, kind: str, bits: int, value: torch.Tensor, *, parameters: Sequence[float] = (), **options: Any
) -> Quantizer:
    """A quantizer of the value's type that was calibrated on it, with these parameters where there are any."""
    shape = value.shape if kind == "weight" else None
    quantizer: Quantizer = build(bits=bits, kind=kind, name="layer", ste="clip_then_round", shape=shape, **options)
    quantizer.to(value.dtype).calibrate(value)
    with torch.no_grad():
        for parameter, given in zip(quantizer.parameters(), parameters, strict=True) if parameters else ():
            parameter.fill_(given)
    return quantizer


def dequantized(codes: Codes) -> torch.Tensor:
    """`Codes.value` with its gradient."""
    value = codes.code * codes.scale
    if codes.planes > 1:
        value = value.unflatten(0, (-1, codes.planes)).sum(1)
    return value if codes.offset is None else value + codes.offset


def run(quantizer: Quantizer, value: torch.Tensor, upstream: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """The dequantized value, and the gradients of `sum(upstream * value)` by the input and by each parameter."""
    leaf = value.detach().clone().requires_grad_()
    found = dequantized(quantizer(leaf))
    return found.detach(), *torch.autograd.grad((upstream * found).sum(), (leaf, *quantizer.parameters()))


def drawn(shape: Sequence[int], seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Values and gradients of the dequantized ones, in double precision but with float32's digits."""
    value, upstream = torch.randn((2, *shape), generator=torch.Generator().manual_seed(seed)).double()
    return value, upstream


def close(actual: torch.Tensor, expected: Any, tolerance: float) -> None:
    """Entry by entry, relative to the expected one, or to 1 where it is smaller."""
    wanted = torch.as_tensor(expected, dtype=torch.float64).reshape(actual.shape)
    torch.testing.assert_close(actual.double(), wanted, rtol=tolerance, atol=tolerance)


def same(actual: torch.Tensor, expected: Any) -> None:
    """Entry by entry, and exactly.

    Where it fails it says how many differ and the first of them. `==` of two lists of a thousand numbers has pytest
    write their difference line by line where it is verbose, as it is in CI, which takes minutes.
    """
    close(actual, expected, 0)


def check_degenerate(build: Any, kind: str, bits: int, **options: Any) -> None:
    """Scales above 0, codes that are integers within bounds, and finite gradients, whatever the values."""
    for dtype in (torch.float32, torch.float64):
        for name, value in DEGENERATE.items():
            quantizer = make(build, kind, bits, value.to(dtype), **options)
            codes = quantizer(value.to(dtype))
            assert codes.scale.isfinite().all() and (codes.scale > 0).all(), name
            assert codes.scale.dtype == codes.code.dtype == dtype and not codes.scale.requires_grad, name
            assert torch.equal(codes.code, codes.code.round()), name
            assert quantizer.qmin <= codes.code.min() and codes.code.max() <= quantizer.qmax, name
            assert (quantizer.qmin < 0) == quantizer.signed, name
            results = run(quantizer, value.to(dtype), torch.ones_like(codes.value))
            assert all(result.isfinite().all() for result in results), name


def check_compiled(quantizer: Quantizer, value: torch.Tensor, upstream: torch.Tensor) -> None:
    """One graph each way, and the same values and gradients as without."""
    torch.compiler.reset()
    plain = run(quantizer, value, upstream)
    traced = copy.deepcopy(quantizer)
    leaf = value.detach().clone().requires_grad_()
    compiled = torch.compile(lambda given: dequantized(traced(given)), fullgraph=True, backend="aot_eager")
    found = compiled(leaf)
    gradients = torch.autograd.grad((upstream * found).sum(), (leaf, *traced.parameters()))
    for actual, expected in zip((found.detach(), *gradients), plain, strict=True):
        # Double precision: sums of some hundred terms, perhaps in another order.
        close(actual, expected, 1e-12)


def brevitas(name: str, scale: Any, **options: Any) -> torch.nn.Module:
    """brevitas' quantizer of this name (`binary.BinaryQuant`), with a constant scale."""
    from importlib import import_module

    from brevitas.core.scaling import ConstScaling

    file, quantizer = name.split(".")
    built: torch.nn.Module = getattr(import_module(f"brevitas.core.quant.{file}"), quantizer)(
        ConstScaling(scale), **options
    )
    return built


def away_from_ties(ratios: Sequence[float]) -> torch.Tensor:
    """Where the nearest code does not hang on the last bits of float32."""
    ratio = torch.tensor(ratios, dtype=torch.float64)
    return ((ratio - ratio.floor()) - 0.5).abs() > 1e-4
