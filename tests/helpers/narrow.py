"""Narrows a quantizer to its method, for tests that look inside."""

from tune_qat.quantizers.base import Quantizer
from tune_qat.quantizers.lsq import LSQ


def lsq(quantizer: Quantizer | None) -> LSQ:
    """An LSQ quantizer, or the test fails."""
    assert isinstance(quantizer, LSQ)
    return quantizer
