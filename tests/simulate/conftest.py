import pytest


@pytest.fixture(autouse=True)
def simulations_need_no_cluster(no_cluster: None) -> None:
    """Every simulation runs without Ray."""
