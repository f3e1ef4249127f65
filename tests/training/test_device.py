"""The device of a trial, as the record names it."""

from tune_qat.results.schema import TABLES
from tune_qat.training.device import hardware


def test_hardware_of_a_cpu() -> None:
    found = hardware("cpu")
    assert found["cuda_version"] is None and found["device"]
    assert set(found) <= set(TABLES["trials"].names)
