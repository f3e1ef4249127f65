"""The page in a real browser: one load for many checks."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser

from analysis.report.blocks import BLOCKS
from analysis.report.page import page
from tests.analysis.report.browser import Seen, browser, opened, scroll_through
from tests.analysis.report.synthetic_study import SyntheticStudy

DESKTOP, PHONE = 1280, 390

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.xdist_group("browser")]  # one browser for the file


@pytest.fixture(scope="module")
def started() -> Iterator[Browser]:
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("report")
    SyntheticStudy(folder / "results")
    SyntheticStudy(folder / "results", "second", sign=-1, optimizers=("adam", "sgd"), bits=(32, 4, 2), seeds=3)
    file = folder / "report.html"
    file.write_text(page(folder / "results"), encoding="utf-8")
    assert file.stat().st_size < 8_000_000
    return file.as_uri()


@pytest.fixture(scope="module", params=[DESKTOP, PHONE])
def seen(request: pytest.FixtureRequest, started: Browser, address: str) -> Iterator[Seen]:
    found = opened(started, address, request.param)
    scroll_through(found.page)
    yield found
    found.page.close()


def test_nothing_is_asked_of_the_network_and_nothing_goes_wrong(seen: Seen) -> None:
    assert seen.requests == [] and seen.said == []


def test_every_block_is_there_with_its_figures(seen: Seen) -> None:
    assert seen.page.locator("main > section").evaluate_all("all => all.map((one) => one.id)") == [
        block.key for block in BLOCKS
    ]
    for plot in seen.page.locator(".plot").all():
        assert plot.locator(".main-svg").count(), plot.get_attribute("aria-label")


def test_the_page_does_not_scroll_sideways(seen: Seen) -> None:
    width = seen.page.evaluate("document.documentElement.scrollWidth")
    assert width <= seen.page.evaluate("innerWidth")
    for plot in seen.page.locator(".plot .main-svg:first-child").all():
        box = plot.bounding_box()
        assert box is not None and box["width"] <= width


def test_tables_read_without_scripts(started: Browser, address: str) -> None:
    found = opened(started, address, scripts=False)
    table = found.page.locator("#leaderboard table.board").first
    assert table.locator("tbody tr").count() == 6  # five optimizers and the best constant prediction
    assert table.locator("svg.bar circle").count() == 5
    assert "not drawn" in found.page.locator("noscript").first.inner_text()
    assert found.page.locator("#learning_rate noscript").first.inner_text().startswith("This figure needs scripts")
    found.page.close()


def test_a_copy_button_takes_the_sql(seen: Seen) -> None:
    details = seen.page.locator("#leaderboard details.sql")
    details.locator("summary").click()
    details.locator("button.copy").first.click()
    selected = seen.page.evaluate("getSelection().toString()")
    assert selected.startswith("-- Which optimizer is best") and "GROUP BY" in selected
    details.locator("summary").click()


def test_rows_behind_a_figure_are_a_table(seen: Seen) -> None:
    source = seen.page.locator("#divergence details.source").first
    source.locator("summary").click()
    assert source.locator("table tbody tr").count() == 10
    assert 'analysis.frame("RESULTS", "divergence")' in source.inner_text()
    source.locator("summary").click()


def test_curves_are_drawn_over_seconds_as_well(seen: Seen) -> None:
    plot = seen.page.locator("#learning_curves .plot").first
    plot.scroll_into_view_if_needed()
    plot.locator(".updatemenu-button", has_text="device seconds").click()
    assert plot.locator("text=device seconds").count() == 2  # the button and the title of the axis
    assert plot.evaluate("plot => plot.data[1].x.at(-1)") == 22.5  # nine epochs of 2.5 seconds


def test_two_configurations_are_set_side_by_side(seen: Seen) -> None:
    box = seen.page.locator("#compare")
    first, second = box.locator("select").all()
    body = box.locator("tbody")
    assert first.evaluate("select => select.options.length") == second.evaluate("select => select.options.length") > 20
    for select in (first, second):
        select.select_option(label="adam: default, place 1 in validation")
    assert body.locator("tr.differs").count() == 0
    second.select_option(label="sgd: chosen, 5 seeds")
    assert body.locator("tr.differs", has_text="optimizer").locator("td").all_inner_texts() == ["adam", "sgd"]
    assert box.locator(".curves .scatterlayer .trace").count() == 2


def test_the_verdict_stands_first_with_its_badges(seen: Seen) -> None:
    section = seen.page.locator("main > section").first
    assert "cannot be told apart" in section.inner_text()
    assert "equal budget" in section.locator(".badges li.good").first.inner_text()
