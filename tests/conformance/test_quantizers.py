"""Every quantizer of the table against `QuantizerConformance`."""

import pytest

from tests.conformance.quantizers import QuantizerConformance
from tune_qat.config import STE_VARIANTS, UsageError
from tune_qat.quantizers import QUANTIZERS, get_spec


def range_of(first: int, last: int) -> tuple[int, ...]:
    return tuple(range(first, last + 1))


class TestLSQ(QuantizerConformance):
    name = "lsq"
    bits = {"weight": range_of(2, 8), "activation": range_of(2, 8)}
    stes = STE_VARIANTS
    decides_sign = True


class TestLSQPlus(QuantizerConformance):
    name = "lsq_plus"
    bits = {"weight": range_of(2, 8), "activation": range_of(2, 8)}
    stes = STE_VARIANTS


class TestPACT(QuantizerConformance):
    name = "pact"
    bits = {"weight": range_of(1, 8), "activation": range_of(1, 8)}
    approximates = False


class TestDSQ(QuantizerConformance):
    name = "dsq"
    bits = {"weight": range_of(1, 8), "activation": range_of(1, 8)}


class TestQIL(QuantizerConformance):
    name = "qil"
    bits = {"weight": range_of(2, 8), "activation": range_of(1, 8)}
    approximates = False


class TestQNN(QuantizerConformance):
    name = "qnn"
    bits = {"weight": range_of(1, 8), "activation": range_of(1, 8)}
    approximates = False


class TestDoReFa(QuantizerConformance):
    name = "dorefa"
    bits = {"weight": range_of(1, 8), "activation": range_of(1, 8)}
    approximates = False


class TestXNOR(QuantizerConformance):
    name = "xnor"
    bits = {"weight": (1,), "activation": (1,)}


class TestTWN(QuantizerConformance):
    name = "twn"
    bits = {"weight": (2,)}


class TestTTQ(QuantizerConformance):
    name = "ttq"
    bits = {"weight": (2,)}
    clips = False


def test_every_quantizer_has_its_conformance_class() -> None:
    assert {subclass.name for subclass in QuantizerConformance.__subclasses__()} == set(QUANTIZERS)


def test_an_unknown_name_gets_the_valid_ones() -> None:
    with pytest.raises(UsageError, match=r"'lqs'. Did you mean 'lsq'\? Known: lsq, "):
        get_spec("lqs")
