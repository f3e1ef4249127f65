"""Places that can hold no record: one sentence, whatever is asked, and nothing left behind."""

import os
from pathlib import Path

import pytest

from tests.helpers.study_files import write
from tests.importing.sweeps import typed
from tests.importing.test_refusals import journal
from tests.widen.records import full
from tune_qat.config import TuneQatError, UsageError
from tune_qat.storage.paths import storage_path
from tune_qat.study import Study
from tune_qat.tuning.checks import check_results_folder

SCHEMES = ("http://localhost:1/x", "https://localhost:1", "ftp://localhost:1/x", "data://x", "zip://x", "github://a@/x")


@pytest.mark.parametrize("place", SCHEMES)
def test_a_scheme_that_cannot_hold_a_record_is_refused(place: str) -> None:
    scheme = place.partition(":")[0]
    with pytest.raises(UsageError, match=f"{scheme}:// cannot hold a record. Use a folder, s3://bucket/results"):
        storage_path(place)


@pytest.mark.parametrize(
    ("place", "said"),
    [
        ("x" * 300, "File name too long"),
        ("a\0b", "is no path here: embedded null byte"),
        ("~nobody-of-this-name/x", "is no path here: Could not determine home directory"),
        ("s3://[::1", "A URI cannot be read"),
        ("x" * 100_000, "characters\\) is no path here"),
    ],
    ids=["long", "zero", "nobody", "address", "longer"],
)
def test_what_is_no_path_is_said(place: str, said: str) -> None:
    with pytest.raises(UsageError, match=said) as raised:
        storage_path(place)
    assert len(str(raised.value)) < 1_000


COMMANDS = {
    "status": ("status", "RESULTS"),
    "query": ("query", "RESULTS", "leaderboard"),
    "compact": ("compact", "RESULTS"),
    "plan": ("plan", "STUDY", "--results", "RESULTS"),
    "run": ("run", "STUDY", "--results", "RESULTS"),
    "edges": ("edges", "RESULTS"),
    "simulate": ("simulate", "RESULTS"),
    "report": ("report", "RESULTS"),
}


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("kind", ["link to nothing", "below it", "link to itself"])
def test_a_link_to_nothing_is_named_by_every_command(tmp_path: Path, command: str, kind: str) -> None:
    link = tmp_path / "link"
    link.symlink_to("link" if kind == "link to itself" else "gone")
    place = link / "results" if kind == "below it" else link
    words = {"RESULTS": place, "STUDY": write(tmp_path)}
    refused = typed(*(str(words.get(word, word)) for word in COMMANDS[command]))
    assert isinstance(refused.exception, UsageError), refused.exception
    assert f"{place} cannot be used: {link} is a link to nothing" in str(refused.exception)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "small.toml"]


def test_a_link_to_nothing_is_named_in_a_uri_as_well(tmp_path: Path) -> None:
    (tmp_path / "a link").symlink_to("gone")
    with pytest.raises(UsageError, match=r"a link/results cannot be used: .*a link is a link to nothing"):
        storage_path(f"file://{tmp_path}/a%20link/results")


def test_a_link_to_a_folder_is_that_folder(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    assert storage_path(str(tmp_path / "link" / "new")) == tmp_path / "link" / "new"
    check_results_folder(tmp_path / "link" / "new")
    assert os.listdir(tmp_path / "folder") == []


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc")
@pytest.mark.parametrize("place", ["/proc", "/proc/x", "/proc/x/y", "/proc/self/fd"])
def test_a_place_without_folders_of_ours_is_refused_before_anything_runs(place: str) -> None:
    with pytest.raises(TuneQatError, match=rf"--results {place}: .*Name another folder|--results {place} cannot be wr"):
        check_results_folder(Path(place))


WRITING = {
    "run": ("run", "STUDY", "--results", "/proc/x"),
    "import": ("import", "optuna", "SWEEP", "--results", "/proc/x/y"),
    "report": ("report", "RESULTS", "-o", "/proc/x/page.html"),
    "query": ("query", "RESULTS", "leaderboard", "--format", "csv", "-o", "/proc/x/a.csv"),
    "widen": ("widen", "RESULTS", "-o", "/proc/x/wide.toml"),
    "plan": ("plan", "STUDY", "--results", "/proc/self/fd"),
    "status": ("status", "/proc/x"),
    "compact": ("compact", "/proc/x"),
}


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="no /proc")
@pytest.mark.parametrize("command", WRITING)
def test_a_command_that_is_to_write_there_says_so_in_one_sentence(tmp_path: Path, command: str) -> None:
    """Also for root, to whom the system says that the folder may be written to."""
    study = Study.load(write(tmp_path))
    full(study, tmp_path / "r", {"adam": {"learning_rate": 0.09}})
    sweep = journal(tmp_path / "a.log", {"lr": 0.1, "batch_size": 32, "optimizer": "adam"})
    words = {"RESULTS": tmp_path / "r", "STUDY": tmp_path / "small.toml", "SWEEP": sweep}
    ended = typed(*(str(words.get(word, word)) for word in WRITING[command]))
    said = str(ended.exception or "")
    assert ended.exception is None or isinstance(ended.exception, TuneQatError | SystemExit), ended.exception
    assert "/proc" in said or command in ("plan", "compact"), said
    assert "\n" not in said.removesuffix("\n")
