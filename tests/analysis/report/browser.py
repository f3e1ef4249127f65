"""A headless Chromium that writes down what a page asks of the network and says on its console."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import pytest
from playwright.sync_api import Browser, Page, Route, ViewportSize, sync_playwright

QUIET = (
    *("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"),
    *("--disable-sync", "--no-first-run"),
)
CHROMIUM = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)


@dataclass
class Seen:
    """What a page did."""

    page: Page
    requests: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)


def check_there() -> None:
    """Skip without a Chromium, but fail where tests have to be whole."""
    if CHROMIUM is None and os.environ.get("CI"):
        pytest.fail("CI has no Chromium: .ci/run installs Debian's.")
    if CHROMIUM is None:
        pytest.skip("no Chromium on this machine: apt-get install chromium")


@contextmanager
def browser() -> Iterator[Browser]:
    check_there()
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield launched
        launched.close()


@pytest.fixture(scope="module")
def started() -> Iterator[Browser]:
    """One browser for all tests of a file."""
    with browser() as found:
        yield found


def opened(
    started: Browser,
    address: str,
    width: int = 1280,
    *,
    scripts: bool = True,
    scheme: Literal["light", "dark"] = "light",
) -> Seen:
    """A page of this width; a request that would leave it is written down and refused."""
    size: ViewportSize = {"width": width, "height": 900}
    page = started.new_page(viewport=size, java_script_enabled=scripts, color_scheme=scheme)
    seen = Seen(page)

    def guard(route: Route) -> None:
        if route.request.url.startswith((address, "data:", "blob:")):
            route.continue_()
        else:
            seen.requests.append(route.request.url)
            route.abort()

    page.route("**/*", guard)
    page.on("console", lambda message: seen.said.append(f"{message.type}: {message.text}"))
    page.on("pageerror", lambda error: seen.said.append(f"error: {error}"))
    page.goto(address)
    return seen


def scroll_through(page: Page) -> None:
    """See every figure, as they are drawn when they come near."""
    for plot in page.locator(".plot").all():
        plot.evaluate("plot => plot.scrollIntoView()")
        # Not `wait_for_function`, whose waiting the page's own policy refuses.
        for _ in range(200):
            if plot.get_attribute("data-drawn"):
                break
            page.wait_for_timeout(20)
