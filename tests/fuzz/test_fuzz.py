"""A few cases of every fuzzer: the same ones each time."""

import pytest

from tests.fuzz import import_rows, record_bytes, study_files
from tests.fuzz.loop import Case, faults

CASES = {"study files": (study_files.case, 150), "records": (record_bytes.case, 6), "imports": (import_rows.case, 6)}


@pytest.mark.slow
@pytest.mark.parametrize("kind", CASES)
def test_every_case_ends_well_or_in_one_message(kind: str) -> None:
    case: Case
    case, count = CASES[kind]
    assert not list(faults(case, seed=15, numbers=range(count)))
