"""The page in a real browser: one load for many checks."""

import base64
import re
import zlib
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlparse

import pytest
from playwright.sync_api import Browser

from analysis import figures
from analysis.answers import Answers
from analysis.figures.arranged import arranged
from analysis.report.blocks import BLOCKS
from analysis.report.page import page
from tests.analysis.report.browser import CHROMIUM, Seen, opened, scroll_through
from tests.analysis.report.browser import started as started
from tests.analysis.report.synthetic_study import SyntheticStudy

DESKTOP, PHONE = 1280, 390

pytestmark = [pytest.mark.browser, pytest.mark.slow, pytest.mark.xdist_group("browser")]  # one browser for the file


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


def test_the_answer_stands_first_and_its_configuration_is_copied(seen: Seen) -> None:
    lines = seen.page.locator("header .line")
    assert lines.count() == 2 + 3, "a line for each bit width of each study"
    said = lines.first.inner_text()
    assert all(words in said for words in ("32/32 bits", "learning rate", "batch size", "n = 5 seeds", "Next: "))
    take = lines.first.locator(".take")
    take.locator("button.copy").click()
    assert seen.page.evaluate("getSelection().toString()").startswith("# ")
    assert take.locator("pre").is_visible(), "what was copied is shown"
    take.locator("summary").click()


def test_a_forest_plot_reads_without_scripts(started: Browser, address: str) -> None:
    found = opened(started, address, PHONE, scripts=False)
    plots = found.page.locator("header svg.forest")
    assert plots.count() == 5 and plots.first.locator("text.name").first.is_visible()
    for box in (plot.bounding_box() for plot in plots.all()):
        assert box is not None and box["x"] >= 0 and box["x"] + box["width"] <= PHONE
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
    seconds = plot.evaluate("plot => Math.max(...plot.data.flatMap((trace) => [...trace.x]))")
    assert seconds == plot.evaluate("plot => plot.layout.xaxis.range[1]") == 22.5  # nine epochs of 2.5 seconds
    names = plot.evaluate(
        "plot => plot.layout.annotations.filter((note) => note.text === 'Adam').map((note) => note.x)"
    )
    assert names == [22.5, 22.5]


def test_two_configurations_are_set_side_by_side(seen: Seen) -> None:
    box = seen.page.locator("#compare")
    first, second = box.locator("select").all()
    body = box.locator("tbody")
    assert first.evaluate("select => select.options.length") == second.evaluate("select => select.options.length") > 20
    for select in (first, second):
        select.select_option(label="Adam: default, place 1 in validation")
    assert body.locator("tr").count() == 0  # nothing differs
    second.select_option(label="SGD: chosen, 5 seeds")
    assert body.locator("tr", has_text="optimizer").first.locator("td").all_inner_texts() == ["Adam", "SGD"]
    assert box.locator(".curves .scatterlayer .trace").count() == 2
    told = body.locator("tr").count()
    same = int(box.locator(".same").inner_text().split()[0])
    box.locator(".toggle input").uncheck()
    assert body.locator("tr").count() == told + same and body.locator("tr.differs").count() == told
    box.locator(".toggle input").check()


def test_the_two_best_of_few_bits_are_compared_first(started: Browser, address: str) -> None:
    found = opened(started, address)
    chosen = found.page.locator("#compare select").evaluate_all("all => all.map((one) => one.selectedOptions[0].text)")
    assert chosen == ["Adam: chosen, 5 seeds", "Lion: chosen, 5 seeds"]
    found.page.close()


def test_every_figure_is_arranged_as_where_it_is_written(seen: Seen, address: str) -> None:
    asked = Answers(Path(unquote(urlparse(address).path)).parent / "results")
    plot = seen.page.locator("#learning_rate .plot").first
    width = int(plot.get_attribute("data-drawn") or 0)
    drawn = arranged(figures.learning_rate(asked, study_id="made_up", workload="synthetic-curves"), width)
    assert plot.evaluate("plot => plot.layout.height") == drawn.layout.height
    for axis in ("xaxis", "xaxis2", "xaxis5", "yaxis", "yaxis5"):
        domain = plot.evaluate("(plot, axis) => plot.layout[axis].domain", axis)
        assert domain == pytest.approx(drawn.layout[axis].domain, abs=1e-9)  # the same sums in both languages


def test_every_figure_is_printed_though_none_was_scrolled_to(started: Browser, address: str) -> None:
    found = opened(started, address)
    plots = found.page.locator(".plot")
    assert plots.last.get_attribute("data-drawn") is None
    assert lines(found.page.pdf()) > 200 * plots.count()
    # Back at the width of the screen, all of them.
    assert set(plots.evaluate_all("all => all.map((one) => one.dataset.drawn)")) == {"1032"}
    assert plots.evaluate_all("all => all.filter((one) => one.style.zoom).length") == 0
    found.page.close()


def lines(pdf: bytes) -> int:
    """Straight and curved pieces of lines in the pages of a PDF, of which a picture of pixels has none."""
    streams = re.findall(rb"stream\r?\n(.*?)\r?\nendstream", pdf, flags=re.DOTALL)
    return sum(len(re.findall(rb" [lc]\n", plain)) for stream in streams if (plain := inflated(stream)))


def inflated(stream: bytes) -> bytes:
    try:
        return zlib.decompress(stream)
    except zlib.error:
        return b""


def test_figures_are_pictures_without_scripts(
    started: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BROWSER_PATH", str(CHROMIUM))
    monkeypatch.setattr("analysis.report.page.BLOCKS", [block for block in BLOCKS if block.key == "divergence"])
    SyntheticStudy(tmp_path / "results", optimizers=("adam", "sgd"), random=2, search=1, seeds=2)
    file = tmp_path / "report.html"
    file.write_text(page(tmp_path / "results", stills=True), encoding="utf-8")
    found = opened(started, file.as_uri(), PHONE, scripts=False)
    still = found.page.locator("#divergence img.still")
    assert still.evaluate_all("all => all.map((one) => one.naturalWidth)") == [720]
    drawn = base64.b64decode((still.get_attribute("src") or "").removeprefix("data:image/svg+xml;base64,")).decode()
    assert "share of trials that diverged" in drawn and "<path" in drawn and "<image" not in drawn
    assert "still pictures" in found.page.locator("noscript").first.inner_text()
    assert found.page.evaluate("document.documentElement.scrollWidth") <= PHONE and found.requests == []
    found.page.close()
    live = opened(started, file.as_uri())
    scroll_through(live.page)
    # Scripts put the figure in its place.
    assert live.page.locator("img.still").count() == 0 and live.page.locator(".plot .main-svg").count() > 0
    assert "divergence" in (live.page.locator(".plot").get_attribute("aria-label") or "").lower()
    live.page.close()


def test_the_verdict_stands_first_with_its_badges(seen: Seen) -> None:
    section = seen.page.locator("main > section").first
    assert "cannot be told apart" in section.inner_text()
    assert "Equal budgets" in section.locator(".badges li.good").first.inner_text()
