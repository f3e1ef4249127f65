"""Every quantizer of the table against `QuantizerConformance`."""

import pytest

from tests.conformance.quantizers import QuantizerConformance
from tune_qat.config import UsageError
from tune_qat.quantizers import QUANTIZERS, get_spec


def range_of(first: int, last: int) -> tuple[int, ...]:
    return tuple(range(first, last + 1))


class TestLSQ(QuantizerConformance):
    name = "lsq"
    bits = {"weight": range_of(2, 8), "activation": range_of(2, 8)}
    decides_sign = True


def test_every_quantizer_has_its_conformance_class() -> None:
    assert {subclass.name for subclass in QuantizerConformance.__subclasses__()} == set(QUANTIZERS)


def test_an_unknown_name_gets_the_valid_ones() -> None:
    with pytest.raises(UsageError, match=r"'lqs'. Did you mean 'lsq'\? Known: lsq"):
        get_spec("lqs")
