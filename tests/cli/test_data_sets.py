"""`tune-qat data`: what is there, fetched from a mirror on loopback, verified; and what is refused."""

import json
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.cli.typed import assert_refused
from tests.data.fetch.site import Site, serving
from tests.data.fetch.tiny_sources import offer
from tune_qat.data.fetch import SOURCES


@pytest.fixture
def mirror(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A mirror of a tiny MNIST, which the table has in place of the real one."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with serving(Site()) as site:
        source = offer(site, "mnist", tmp_path_factory.mktemp("mnist"), monkeypatch)
        monkeypatch.setitem(SOURCES, "mnist", source)
        yield site


def test_fetch_list_and_verify(tune_qat: Any, mirror: Site) -> None:
    done = tune_qat("data", "fetch", "mnist", "--data-dir", "data", "--yes", "--mirror", mirror.url)
    assert done.code == 0 and "terms: CC BY-SA 3.0" in done.out and done.out.endswith("mnist: fetched, in data\n")
    assert done.err.startswith(
        "train-images-idx3-ubyte.gz: downloading\ntrain-images-idx3-ubyte.gz: unpacking into data\n"
    )
    found = json.loads(tune_qat("data", "list", "--json", "--data-dir", "data").out)
    assert {row["name"]: row["state"] for row in found} == {
        **dict.fromkeys(SOURCES, "missing"),
        "mnist": "there",
    }
    done = tune_qat("data", "verify", "mnist", "--data-dir", "data")
    assert done.code == 0 and done.out.startswith("mnist  whole: 120 + 30 images of 1 x 28 x 28; 4 files")
    Path("data/MNIST/raw/t10k-labels-idx1-ubyte").unlink()
    done = tune_qat("data", "verify", "mnist", "--data-dir", "data")
    assert done.code == 1 and done.out == "mnist  BROKEN: MNIST/raw/t10k-labels-idx1-ubyte is missing\n"
    assert done.err.endswith("tune-qat data fetch mnist --data-dir data\n")
    mirror.asked.clear()
    assert tune_qat("data", "fetch", "mnist", "--data-dir", "data", "--yes", "--mirror", mirror.url).code == 0
    assert [path for path, _ in mirror.asked] == ["/mnist/t10k-labels-idx1-ubyte.gz"]


def test_list_names_size_terms_and_place(tune_qat: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tune_qat("data", "list").out
    assert "11.6 MB to download, 55.0 MB on disk; no data folder was given" in out
    assert "about 2.5 GB and 2 archives of unknown size to download" in out and "terms: MIT licence" in out
    Path("data/DIV2K_train_HR").mkdir(parents=True)
    monkeypatch.setenv("TUNE_QAT_DATA", "data")
    out = tune_qat("data", "list").out
    assert out.count("not there") == 4 and out.count("in part, in data") == 1


def test_nobody_to_ask_no_folder_unknown_name_and_no_mirror(tune_qat: Any) -> None:
    done = tune_qat("data", "fetch", "mnist", "--data-dir", "data")
    assert done.code == 2 and "11.6 MB to download" in done.out and "--yes" in done.err and not Path("data").exists()
    assert_refused(tune_qat("data", "fetch", "mnist"), 2, "--data-dir DIR", "TUNE_QAT_DATA")
    assert_refused(
        tune_qat("data", "fetch", "mnst", "--data-dir", "data"), 2, "Unknown data set 'mnst'", "mean 'mnist'"
    )
    done = tune_qat("data", "fetch", "cifar10", "--data-dir", "data", "--yes", "--mirror", "ftp://host")
    assert done.code == 2 and "--mirror takes" in done.err and not Path("data").exists()


def test_ctrl_c_is_one_line_and_the_same_command_goes_on(
    tune_qat: Any, mirror: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def pressed(handler: Any, body: bytes) -> None:
        handler.answer(200, body[:1000], Content_Length=str(len(body)))
        handler.wfile.flush()
        signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)

    mirror.script = [pressed]
    done = tune_qat("data", "fetch", "mnist", "--data-dir", "data", "--yes", "--mirror", mirror.url)
    assert done.code == 4
    assert done.err.splitlines()[-1] == "error: stopped by Ctrl-C; the same command goes on where it was"
    assert "Traceback" not in done.err
    assert tune_qat("data", "fetch", "mnist", "--data-dir", "data", "--yes", "--mirror", mirror.url).code == 0


def test_other_commands_do_not_load_what_fetches() -> None:
    code = "import sys, tune_qat.cli; print({'pooch', 'requests', 'torch'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"
