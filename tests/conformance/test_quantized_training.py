"""Every method of the table trains a small network, and goes on from a checkpoint with the same numbers."""

import math
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.trials import assert_nothing_infinite, assert_same_curve, results_of, resumed_every_epoch, tiny_trial
from tune_qat.config import FLOAT_BITS, Scheme
from tune_qat.quantizers import QUANTIZERS, scheme_of


def schemes() -> list[Scheme]:
    """Each method at its lowest and its highest bits, first and last layers included, and PACT beside other weights."""
    found = []
    for name, spec in QUANTIZERS.items():
        for end in (0, -1):
            activations = FLOAT_BITS if spec.activations is None else spec.activations.bits[end]
            ends = max(spec.weights.bits[end], 0 if spec.activations is None else activations)
            bits: dict[str, Any] = {
                "weight_bits": spec.weights.bits[end],
                "activation_bits": activations,
                "first_last_bits": ends,
            }
            found.append(scheme_of(quantizer=name, **bits))
    return list({(one.quantizer, one.label): one for one in found}.values())


@pytest.mark.parametrize("scheme", schemes(), ids=lambda one: f"{one.quantizer}-{one.label}")
def test_trains_and_goes_on(scheme: Scheme, tmp_path: Path) -> None:
    config = tiny_trial(scheme=scheme, model="lenet5_bn")
    results = results_of(config)
    assert [result.status for result in results] == ["running", "completed"]
    for result in results:
        assert_nothing_infinite(result)
        assert result.grad_norm is not None and result.grad_norm > 0
        quantized = 2 if scheme.activation_bits < FLOAT_BITS else 1
        assert len(result.layers) == 5 * quantized and all(layer.step_size > 0 for layer in result.layers)
        frequencies = [layer.oscillation_frequency for layer in result.layers if layer.kind == "weight"]
        assert len(frequencies) == 5 and all(known is not None and 0 <= known <= 1 for known in frequencies)
    resumed, _ = resumed_every_epoch(config, tmp_path)
    assert_same_curve(results, resumed)


@pytest.mark.parametrize("name", QUANTIZERS)
def test_learns_more_than_the_constant_predictor(name: str) -> None:
    spec = QUANTIZERS[name]
    bits: dict[str, Any] = {"weight_bits": min(4, spec.weights.bits[-1]), "activation_bits": FLOAT_BITS}
    if spec.activations is not None:
        bits["activation_bits"] = min(4, spec.activations.bits[-1])
    # Methods that do not keep the size of weights need a norm, and binary inputs need it last.
    one_bit = 1 in (bits["weight_bits"], bits["activation_bits"])
    config = tiny_trial(
        model="lenet5_xnor" if one_bit else "lenet5_bn",
        scheme=scheme_of(quantizer=name, **bits),
        epochs=3,
        learning_rate=3e-3,
        dataset_options={"train_limit": 640},
    )
    results = results_of(config)
    best = min(result.val_loss or math.inf for result in results)
    assert best < 0.7 * math.log(10), "ten classes, as frequent as one another"
    assert any(layer.oscillation_frequency for layer in results[-1].layers), "in 120 steps some weight turned around"
