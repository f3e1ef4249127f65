"""What the suite itself relies on."""

import os

import pytest

ran = list[str]()


def test_a_file_begins() -> None:
    ran.append("the first")


def test_a_file_runs_in_one_process(request: pytest.FixtureRequest) -> None:
    """What it makes once is made once: the hook of tests/conftest.py hands out files."""
    if any(item.name == "test_a_file_begins" for item in request.session.items):
        assert ran


@pytest.mark.xdist_group("suite")
def test_tests_of_one_group_run_in_one_process(request: pytest.FixtureRequest) -> None:
    """The group is in the name that a test is handed out by: pytest-xdist 3.8 cannot put it there with pytest 9.2."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        pytest.skip("one process")
    assert request.node.nodeid.endswith("@suite")
