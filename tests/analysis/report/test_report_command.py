"""`tune-qat report`: files, messages and the server."""

import os
import re
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

from analysis.report import files
from analysis.report.blocks import BLOCKS
from tests.analysis.report.browser import CHROMIUM, browser, check_there, opened
from tests.analysis.report.synthetic_study import SyntheticStudy
from tune_qat.cli import app
from tune_qat.config import TuneQatError, UsageError


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("command") / "results"
    SyntheticStudy(folder, optimizers=("adam", "sgd"), random=4, search=3, seeds=2)
    return folder


def run(*arguments: object) -> str:
    done = CliRunner().invoke(app, ["report", *map(str, arguments)], catch_exceptions=True)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.slow
def test_a_page_is_written_and_needs_nothing_that_draws_files(
    results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "kaleido", None)
    path = tmp_path / "page.html"
    assert run(results, "-o", path).strip() == str(path)
    assert path.read_text(encoding="utf-8").startswith("<!doctype html>")


@pytest.mark.parametrize(
    ("arguments", "error", "words"),
    [
        (["nowhere"], TuneQatError, "does not exist"),
        (["--live", "-o", "x.html", "nowhere"], UsageError, "--live"),
        (["--live", "--embed-static", "nowhere"], UsageError, "--embed-static"),
        (["--width", "3.3in", "nowhere"], UsageError, "--width 3.3in is that of the figures of --static"),
        (["--static", "figures", "--width", "3.3", "nowhere"], UsageError, "a number and a unit"),
    ],
)
def test_mistakes_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], error: type[Exception], words: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(error, match=words):
        run(*arguments)


@pytest.mark.slow
def test_a_folder_that_cannot_be_written_is_told(results: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(TuneQatError, match="cannot be written"):
        run(results, "-o", tmp_path / "file" / "page.html")
    with pytest.raises(TuneQatError, match="cannot be written"):
        run(results, "--static", tmp_path / "file")


def test_a_file_that_is_no_parquet_is_named(tmp_path: Path) -> None:
    SyntheticStudy(tmp_path, optimizers=("adam",), bits=(4,), random=2, search=2, seeds=1)
    broken = tmp_path / "trials" / "study_id=made_up" / "broken.parquet"
    broken.write_text("no parquet")
    with pytest.raises(TuneQatError, match="broken.parquet"):
        run(tmp_path, "-o", tmp_path / "page.html")


@pytest.mark.slow
def test_tables_are_written_where_no_browser_is(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import plotly.io as pio

    def none(*_: object, **__: object) -> None:
        raise RuntimeError("Kaleido requires Google Chrome to be installed.\nmore")

    monkeypatch.setattr(pio, "write_images", none)
    with pytest.raises(TuneQatError, match="apt-get install chromium.*requires Google Chrome.*tables are written"):
        run(results, "--static", tmp_path)
    names = {path.stem for path in tmp_path.glob("*.csv")}
    assert names == {exhibit.name for block in BLOCKS for exhibit in block.exhibits}
    assert len(pd.read_csv(tmp_path / "leaderboard.csv")) == 4


@pytest.mark.slow
@pytest.mark.browser
def test_figures_are_written(results: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_there()
    monkeypatch.setenv("BROWSER_PATH", str(CHROMIUM))
    # One block is enough to know that the browser draws.
    monkeypatch.setattr(files, "BLOCKS", [block for block in BLOCKS if block.key == "divergence"])
    run(results, "--static", tmp_path, "--width", "3.3in")
    name = "divergence-made_up-synthetic-curves"
    png, svg, pdf = (tmp_path / f"{name}{end}" for end in (".png", ".svg", ".pdf"))
    assert png.read_bytes().startswith(b"\x89PNG")
    said = svg.read_text(encoding="utf-8")
    letters = " ".join(re.findall(">([^<>]+)<", said))  # lines are wrapped to the width
    assert "Adam" in letters and "study made_up: synthetic-curves" in letters and "32/32, 4/4 bits" in letters
    # One page as wide as asked for, on which no picture is but lines and letters.
    ((width, height),) = re.findall(rb"/MediaBox ?\[0 0 ([\d.]+) ([\d.]+)\]", pdf.read_bytes())
    assert float(width) / 72 == pytest.approx(3.3, abs=0.02)  # Chromium rounds to pixels
    assert float(height) / 72 == pytest.approx(int(re.findall(r'height="(\d+)"', said)[0]) / 96, abs=0.02)
    assert b"/FontFile" in pdf.read_bytes() and b"/Subtype /Image" not in pdf.read_bytes()


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[str, Path, "subprocess.Popen[str]"]]:
    """A server of results that are not there yet."""
    folder = tmp_path / "results"
    command = [sys.executable, "-m", "tune_qat", "report", str(folder), "--live", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ})
    assert process.stdout is not None
    address = process.stdout.readline().split()[0]
    yield address, folder, process
    process.kill()
    process.communicate()


@pytest.mark.slow
@pytest.mark.browser
def test_a_served_page_follows_the_study_and_ends_with_ctrl_c(
    served: tuple[str, Path, "subprocess.Popen[str]"],
) -> None:
    address, folder, process = served
    with urllib.request.urlopen(address, timeout=20) as answer:
        assert "does not exist" in answer.read().decode()
    host, port = address.removeprefix("http://").rstrip("/").split(":")
    assert host == "127.0.0.1"
    connection = HTTPConnection(host, int(port), timeout=20)
    connection.request("GET", "/", headers={"Host": "elsewhere.example"})
    assert connection.getresponse().status == 403
    connection.close()
    connection.request("GET", "/../secret")
    assert connection.getresponse().status == 404
    connection.close()
    with browser() as started:
        seen = opened(started, address, 390)
        assert seen.page.locator("h1").inner_text() == "No study yet"
        SyntheticStudy(folder, optimizers=("adam",), bits=(4,), random=2, search=2, seeds=1, complete=False)
        seen.page.locator("h1", has_text="made_up").wait_for(timeout=90_000)
        assert "is not finished" in seen.page.locator(".notice").first.inner_text()
        first = seen.page.locator("#page > :first-child")
        assert first.inner_text().startswith("Nothing runs: the same command goes on with it. 6 of 6 trials")
        assert "s ago" in first.inner_text()
        seen.page.locator("#leaderboard details.source summary").first.click()
        plot = seen.page.locator("#learning_curves .plot").first
        plot.scroll_into_view_if_needed()
        plot.locator(".main-svg").first.wait_for()
        seen.page.locator("#learning_rate h2").evaluate("title => { title.scrollIntoView(); title.kept = true; }")
        plot.evaluate("plot => { plot.kept = true; }")
        place = "title => title.getBoundingClientRect().top"
        before = seen.page.locator("#learning_rate h2").evaluate(place)
        SyntheticStudy(folder, optimizers=("adam",), bits=(4,), random=2, search=2, seeds=2)
        seen.page.locator("#leaderboard td", has_text=" to ").first.wait_for(timeout=90_000)
        assert first.inner_text().startswith("Complete: nothing is left to run.")
        # What is looked at stays where it is, is the same, and the figures are drawn again where they are.
        assert abs(seen.page.locator("#learning_rate h2").evaluate(place) - before) < 1
        assert seen.page.locator("#learning_rate h2").evaluate("title => title.kept")
        assert plot.evaluate("plot => plot.kept && plot.querySelectorAll('.main-svg').length > 0")
        assert seen.page.locator("#leaderboard details.source").first.get_attribute("open") is not None
        assert seen.requests == [] and seen.said == []
    process.send_signal(signal.SIGINT)
    out, error = process.communicate(timeout=20)
    assert (process.returncode, error) == (0, "")


@pytest.mark.parametrize(
    ("missing", "arguments", "said"),
    [
        (("plotly", "opda"), [], "The report needs opda, plotly: pip install 'tune-qat[analysis]'"),
        (("statsmodels",), ["--live"], "The report needs statsmodels: pip install"),
        (("kaleido",), ["--static", "figures"], "The report needs kaleido: pip install"),
        (("kaleido",), ["--embed-static"], "The report needs kaleido: pip install"),
    ],
)
def test_without_the_extra_it_says_what_to_install(
    results: Path, monkeypatch: pytest.MonkeyPatch, missing: tuple[str, ...], arguments: list[str], said: str
) -> None:
    for name in missing:
        for module in [one for one in sys.modules if one.partition(".")[0] == name]:
            monkeypatch.delitem(sys.modules, module)
        monkeypatch.setitem(sys.modules, name, None)  # as where it is not installed, though jinja2 is
    with pytest.raises(TuneQatError) as raised:
        run(results, *arguments)
    assert said in str(raised.value)
