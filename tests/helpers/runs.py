"""Studies that are run: as a file, by a command in a process of its own, and what their record holds at the end."""

import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from tune_qat.results.reader import read_rows
from tune_qat.results.views import connect
from tune_qat.storage.paths import StoragePath
from tune_qat.study import Study
from tune_qat.text.toml import toml_text


def study_text(study: Study) -> str:
    """The study as the text of a file."""
    return toml_text(study.model_dump(mode="json", exclude_unset=True, exclude_none=True))


def study_file(folder: Path, study: Study) -> Path:
    path = folder / f"{study.name}.toml"
    path.write_text(study_text(study))
    return path


def assert_whole(results: StoragePath, planned: dict[str, int]) -> None:
    """Every planned trial once, with a final status, its epochs 1..n each once."""
    rows = read_rows(results, "trials")
    assert Counter(row["stage"] for row in rows) == planned
    assert not {row["status"] for row in rows} & {"running", "interrupted"}
    assert len({row["trial_key"] for row in rows}) == len(rows)
    found = connect(results).sql("SELECT trial_key, list(epoch ORDER BY epoch) FROM epochs GROUP BY ALL").fetchall()
    epochs = dict(found)
    for row in rows:
        assert epochs[row["trial_key"]] == list(range(1, row["epochs_run"] + 1))


def command(space: Path, results: object, *more: str, kind: str | None = None) -> list[str]:
    """`tune-qat run`, one trial at a time unless told otherwise: each further process of trials takes seconds to start.

    The trials are of a kind of tests/tuning/sabotage.py where one is named.
    """
    module = ["tests.tuning.sabotage", kind] if kind else ["tune_qat"]
    options = ["--results", str(results), "--no-progress", "--max-concurrent", "1"]
    return [sys.executable, "-m", *module, "run", str(space), *options, *more]


def begun(space: Path, results: object, *more: str, kind: str | None = None) -> subprocess.Popen[str]:
    """A run that goes on while the test does something to it."""
    typed = command(space, results, *more, kind=kind)
    return subprocess.Popen(typed, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(space: Path, results: object, *more: str) -> subprocess.CompletedProcess[str]:
    """A run that comes to its end, as it should."""
    typed = command(space, results, *more)
    done = subprocess.run(typed, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done


def wait_for(results: StoragePath, trials: int, process: subprocess.Popen[str]) -> None:
    """Until the record holds that many trials, the study still running."""
    until = time.monotonic() + 300
    while len(list((results / "trials").glob("study_id=*/[!.]*.parquet"))) < trials:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < until
        time.sleep(0.05)
