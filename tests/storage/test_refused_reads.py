"""Object storage that refuses, does not answer or is not there: each command that reads says so in one sentence."""

import time
from pathlib import Path

import pytest

from tests.helpers.records import whole_study
from tests.helpers.rows import filled, write
from tests.helpers.storage import Bucket
from tests.importing.sweeps import typed
from tests.importing.test_refusals import journal
from tune_qat.config import NotRead, TuneQatError
from tune_qat.storage.paths import storage_path

pytestmark = [pytest.mark.s3, pytest.mark.xdist_group("s3")]

COMMANDS = {
    "status": ("status", "RESULTS"),
    "query": ("query", "RESULTS", "leaderboard"),
    "plan": ("plan", "quickstart", "--results", "RESULTS"),
    "edges": ("edges", "RESULTS"),
    "widen": ("widen", "RESULTS", "-o", "OUT.toml"),
    "export": ("export", "RESULTS", "-o", "OUT.onnx"),
    "rerun": ("rerun", "RESULTS", "abcdef"),
    "simulate": ("simulate", "RESULTS"),
    "report": ("report", "RESULTS", "-o", "OUT.html"),
    "compact": ("compact", "RESULTS"),
    "import": ("import", "optuna", "SWEEP", "--results", "RESULTS"),
}


@pytest.fixture(scope="module")
def results(bucket: Bucket) -> str:
    """A record in the bucket."""
    root = storage_path(f"{bucket.uri}/refused")
    study = whole_study(root)
    write(root, study.name, "studies", "study", filled("studies"))
    return str(root)


def said(command: str, results: str, folder: Path) -> TuneQatError:
    """The error in which a command ends; nothing of its own is left."""
    words = {"RESULTS": results, "SWEEP": journal(folder / "a.log", {"lr": 0.1, "batch_size": 32, "optimizer": "adam"})}
    ended = typed(*(str(words.get(word, word)).replace("OUT", f"{folder}/out") for word in COMMANDS[command]))
    assert isinstance(ended.exception, TuneQatError), ended.exception
    assert ended.exception.exit_code == 1 and "\n" not in str(ended.exception)
    assert sorted(path.name for path in folder.iterdir()) == ["a.log"]
    return ended.exception


@pytest.mark.parametrize("command", COMMANDS)
def test_storage_that_denies_access_is_named_by_every_command(
    bucket: Bucket, results: str, tmp_path: Path, command: str
) -> None:
    with bucket.failing("403"):
        error = said(command, results, tmp_path)
    assert results in str(error) and "ACCESS_DENIED" in str(error)


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "why"), [("503", "SLOW_DOWN"), ("half", "partial file"), ("silent", "NETWORK_CONN")])
def test_storage_that_does_not_answer_is_named(
    bucket: Bucket, results: str, tmp_path: Path, kind: str, why: str
) -> None:
    began = time.monotonic()
    with bucket.failing(kind):
        error = said("status", results, tmp_path)
    assert time.monotonic() - began < 20.0, "a call that goes on for minutes holds the study, and Ctrl-C with it"
    assert isinstance(error, NotRead) and results in str(error) and why in str(error)


@pytest.mark.parametrize("command", ["status", "query", "report", "rerun"])
def test_a_bucket_that_is_not_there_holds_no_record(results: str, tmp_path: Path, command: str) -> None:
    place = "s3://no-such-bucket/results"
    assert f"{place} holds no record of a study" in str(said(command, place, tmp_path))
