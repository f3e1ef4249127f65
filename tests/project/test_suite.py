"""What the suite itself relies on."""

import os

import pytest


@pytest.mark.xdist_group("suite")
def test_tests_of_one_group_run_in_one_process(request: pytest.FixtureRequest) -> None:
    """The group is in the name that a test is handed out by: pytest-xdist 3.8 cannot put it there with pytest 9.2."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        pytest.skip("one process")
    assert request.node.nodeid.endswith("@suite")
