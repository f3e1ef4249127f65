"""The common range rules, against a slow plain twin, and the methods that take or refuse them."""

import math
from typing import Any

import pytest
import torch

from tune_qat.config import UsageError
from tune_qat.quantizers import QUANTIZERS, scheme_of
from tune_qat.quantizers.dsq import DSQ
from tune_qat.quantizers.pact import PACT
from tune_qat.quantizers.qil import QILActivation, QILWeight
from tune_qat.quantizers.ranges import FACTORS, initial_range

VALUE = torch.randn(1000, generator=torch.Generator().manual_seed(3))


def twin(value: list[float], intervals: int, *, from_zero: bool) -> tuple[float, float]:
    """Try every candidate, one value at a time."""
    low, high = 0.0 if from_zero else min(value), max(value)
    found = []
    for factor in FACTORS:
        first, step = low * factor, (high - low) * factor / intervals
        error = 0.0
        for one in value:
            code = min(max(round((one - first) / step), 0), intervals)
            error += (first + code * step - one) ** 2
        found.append((error, -factor))
    factor = -min(found)[1]
    return low * factor, high * factor


@pytest.mark.parametrize("from_zero", [False, True])
@pytest.mark.parametrize("intervals", [1, 3, 15])
def test_squared_error_equals_the_plain_loop(intervals: int, from_zero: bool) -> None:
    value = VALUE.abs() if from_zero else VALUE
    low, high = initial_range(value, "mse", percentile=99.99, intervals=intervals, from_zero=from_zero)
    expected = twin(value.tolist(), intervals, from_zero=from_zero)
    assert (low.item(), high.item()) == pytest.approx(expected, rel=1e-6)  # float32
    assert high < value.max(), "few levels clip a normal distribution"


@pytest.mark.parametrize("percentile", [99.0, 99.9, 60.0, 100.0])
def test_percentiles_leave_out_their_share_at_each_end(percentile: float) -> None:
    low, high = initial_range(VALUE, "percentile", percentile=percentile, intervals=15, from_zero=False)
    ordered = sorted(VALUE.tolist())
    outside = {99.0: 10, 99.9: 1, 60.0: 400, 100.0: 0}[percentile]
    assert (low.item(), high.item()) == (ordered[outside], ordered[-1 - outside])


@pytest.mark.parametrize("rule", ["min_max", "percentile", "mse"])
@pytest.mark.parametrize("value", [[0.0, 0.0], [0.7], [-0.7, -0.7], [1e-30, 2e-30], [1e20, -1e20, 3e19]], ids=str)
def test_degenerate_values_give_finite_ranges(value: list[float], rule: str) -> None:
    for from_zero in (False, True):
        low, high = initial_range(torch.tensor(value), rule, percentile=99.0, intervals=15, from_zero=from_zero)
        assert math.isfinite(low) and math.isfinite(high) and low <= high


@pytest.mark.parametrize("rule", ["min_max", "percentile", "mse"])
def test_methods_begin_with_the_range(rule: str) -> None:
    layer: dict[str, Any] = {"name": "conv", "bits": 4, "range": rule, "percentile": 99.0}
    dsq, pact = DSQ(kind="weight", **layer), PACT(kind="activation", **layer)
    weight, activation = QILWeight(kind="weight", **layer), QILActivation(kind="activation", **layer)
    for quantizer in (dsq, pact, weight, activation):
        quantizer.calibrate(VALUE)

    def ends(value: torch.Tensor, intervals: int, from_zero: bool) -> tuple[torch.Tensor, torch.Tensor]:
        return initial_range(value, rule, percentile=99.0, intervals=intervals, from_zero=from_zero)

    assert (dsq.lower.data, dsq.upper.data) == ends(VALUE, 15, False)
    assert pact.alpha.data == ends(VALUE, 15, True)[1]
    assert weight.centre.data == weight.distance.data == ends(VALUE.abs(), 7, True)[1] / 2
    assert activation.centre.data == ends(VALUE.abs(), 15, True)[1] / 2


def test_the_defaults_are_those_of_before() -> None:
    pact, dsq = PACT(kind="activation", name="conv", bits=4), DSQ(kind="activation", name="conv", bits=4)
    pact.calibrate(VALUE)
    dsq.calibrate(VALUE)
    assert pact.alpha.item() == 10
    assert (dsq.lower.item(), dsq.upper.item()) == (VALUE.min().item(), VALUE.max().item())
    with_it = scheme_of(quantizer="dsq", weight_bits=4, activation_bits=4, options={"range": "min_max"})
    assert with_it.options == {}, "a default is not part of a trial's identity"


@pytest.mark.parametrize("name", QUANTIZERS)
def test_a_method_takes_a_range_or_says_what_its_paper_begins_with(name: str) -> None:
    spec = QUANTIZERS[name]
    bits: dict[str, Any] = {
        "weight_bits": spec.weights.bits[0],
        "activation_bits": spec.activations.bits[0] if spec.activations else 32,
    }
    if "range" in spec.options:
        assert not spec.range_given
        assert scheme_of(quantizer=name, **bits, options={"range": "mse"}).options == {"range": "mse"}
        return
    with pytest.raises(UsageError, match=f"'{name}' takes no option 'range': ") as error:
        scheme_of(quantizer=name, **bits, options={"range": "mse"})
    assert spec.range_given in str(error.value)


def test_a_percentile_that_nothing_reads_is_refused() -> None:
    for options in ({"percentile": 99.0}, {"percentile": 99.0, "range": "mse"}):
        with pytest.raises(UsageError, match="'percentile' is read with range"):
            scheme_of(quantizer="dsq", weight_bits=4, activation_bits=4, options=options)
    with pytest.raises(UsageError, match="above 50 and at most 100"):
        scheme_of(
            quantizer="dsq", weight_bits=4, activation_bits=4, options={"percentile": 50.0, "range": "percentile"}
        )
