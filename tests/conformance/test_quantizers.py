"""Every quantizer of the table against `QuantizerConformance`."""

import pytest

from tests.conformance.quantizers import QuantizerConformance
from tune_qat.config import UsageError
from tune_qat.quantizers import QUANTIZERS, get_spec


class TestLSQ(QuantizerConformance):
    name = "lsq"
    bits = (2, 3, 4, 5, 6, 7, 8)


def test_every_quantizer_has_its_conformance_class() -> None:
    assert {subclass.name for subclass in QuantizerConformance.__subclasses__()} == set(QUANTIZERS)


def test_an_unknown_name_gets_the_valid_ones() -> None:
    with pytest.raises(UsageError, match=r"'lqs'. Did you mean 'lsq'\? Known: lsq"):
        get_spec("lqs")
