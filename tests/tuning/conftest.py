"""For tests of clusters."""

from collections.abc import Iterator

import pytest

from tests.tuning.raylets import Raylets, raylets


@pytest.fixture(scope="session")
def nodes() -> Iterator[Raylets]:
    """A cluster of this test process, a head without CPUs; each test says how many nodes it keeps beside it.

    Its tests form the group `nodes`, so that one process starts it.
    """
    with raylets(0) as started:
        yield started
