"""axe-core in a real browser: nothing of the page bars anybody, on paper and at night, with all details open."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import resources
from importlib.util import find_spec

import pytest
from playwright.sync_api import Browser

from analysis.report.now import moments
from analysis.report.page import page, rendered_now
from tests.analysis.report.browser import Seen, opened
from tests.analysis.report.browser import started as started
from tests.analysis.report.synthetic_study import SyntheticStudy

AXE = "axe_playwright_python"

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.xdist_group("browser")]


@pytest.fixture(scope="module")
def axe() -> str:
    """The script that looks; it comes with the extra dev, so that it is missing in no run of CI."""
    if find_spec(AXE) is None and not os.environ.get("CI"):
        pytest.skip("no axe-core on this machine: pip install axe-playwright-python")
    return (resources.files(AXE) / "axe.min.js").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("axe")
    SyntheticStudy(folder / "results", optimizers=("adam", "sgd_agc"), random=2, search=2, seeds=3, complete=False)
    # As it is served, with what runs now, and with the notice that nobody serves it any more.
    now = rendered_now(moments([folder / "results"]), datetime.now(UTC))
    (folder / "report.html").write_text(page(folder / "results", live="version", now=now), encoding="utf-8")
    return (folder / "report.html").as_uri()


@pytest.fixture(scope="module", params=[("light", 1400), ("dark", 390)], ids=lambda given: given[0])
def seen(request: pytest.FixtureRequest, started: Browser, address: str) -> Iterator[Seen]:
    scheme, width = request.param
    found = opened(started, address, width, scheme=scheme)
    yield found
    found.page.close()


def test_dark_paper_is_dark_and_figures_are_turned_over(seen: Seen) -> None:
    style = "one => { const found = getComputedStyle(one); return [found.backgroundColor, found.filter]; }"
    light = seen.page.evaluate("matchMedia('(prefers-color-scheme: light)').matches")
    (paper, _), (_, turned) = (seen.page.locator(name).first.evaluate(style) for name in ("body", ".plot"))
    assert (paper == "rgb(255, 255, 255)", turned == "none") == (light, light)
    seen.page.emulate_media(media="print")
    assert seen.page.locator("body").evaluate(style)[0] == "rgb(255, 255, 255)", "paper is white"
    seen.page.emulate_media(media="screen")


def test_contents_stay_and_say_where_one_is(seen: Seen) -> None:
    for block in ("learning_rate", "made"):
        seen.page.evaluate("id => document.getElementById(id).scrollIntoView()", block)
        current = seen.page.locator(f'nav a[aria-current=location][href="#{block}"]')
        current.wait_for()
        assert current.evaluate(
            "one => { const box = one.getBoundingClientRect();"
            " return document.elementFromPoint(box.x + box.width / 2, box.y + box.height / 2) === one; }"
        ), "the link is on the screen, and nothing lies over it"


def test_axe_finds_nothing_with_all_details_open(seen: Seen, axe: str) -> None:
    seen.page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    # Rows of a table are alike, and figures are pictures with a name: each row, and each part of a figure, costs time.
    seen.page.evaluate("document.querySelectorAll('tbody tr:nth-child(n + 3)').forEach((one) => one.remove())")
    seen.page.evaluate(axe)
    violations = seen.page.evaluate(
        "axe.run({ exclude: ['.main-svg'] }, { resultTypes: ['violations'] }).then((all) => all.violations)"
    )
    told = [f"{one['id']}: {one['help']}: {node['html'][:200]}" for one in violations for node in one["nodes"]]
    assert told == []
