"""The null study reads the sentences that the page has."""

import numpy as np
import pytest

from benchmarks.null_pages import pages
from benchmarks.null_study import SEEDS, searches, studies

REPEATS = 4


@pytest.mark.parametrize("lead", [0.0, 0.1], ids=["equal", "one leads"])
@pytest.mark.slow
def test_a_sentence_asserts_a_difference_where_the_tables_do(lead: float) -> None:
    """Real searches of one optimizer: few claims; nearly all where one arm is better by ten points at 4/4."""
    pool = searches()
    (quantized,) = studies(pool, REPEATS, SEEDS, 20, np.random.default_rng(1))
    (control,) = studies(pool, REPEATS, SEEDS, 20, np.random.default_rng(2))
    quantized["score"] += lead * (quantized["optimizer"] == "copy 3")
    found = list(pages(quantized, control))
    assert [set(one) for one in found] == [{"ranking", "change", "control"}] * 20
    claimed = sum(one["ranking"] for one in found)
    assert claimed <= 2 if lead == 0 else claimed >= 15
    assert sum(one["change"] for one in found) <= 2 if lead == 0 else sum(one["change"] for one in found) >= 5
