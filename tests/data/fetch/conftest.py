"""A site for each test."""

from collections.abc import Iterator

import pytest

from tests.data.fetch.site import Site, serving


@pytest.fixture
def site(monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """An honest site on loopback, whatever proxy there is."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving(Site()) as found:
        yield found
