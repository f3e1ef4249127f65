"""A driver that is really killed. Deaths at every step of a study are those of tests/simulate/test_resume.py, without
processes; many real ones, one after the other, are those of `python -m benchmarks.kills`.
"""

import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import analysis
from tests.helpers.runs import assert_whole, begun, finish, study_file
from tests.helpers.studies import tiny_study
from tune_qat.config import TuneQatError
from tune_qat.results.reader import read_rows
from tune_qat.tuning.run import run

pytestmark = [pytest.mark.ray, pytest.mark.slow]

PLANNED = {"pretrain": 1, "default": 2, "random": 2, "search": 6, "retrain": 4}

BOTH = ("--max-concurrent", "2")
"""Two arms at once: a kill may meet a trial that ends beside one that trains."""
LONGEST_S = 2.0
"""After a run has recorded its first epoch: by then it trains, ends trials or starts others, on any machine."""
START_S = 180.0


def stamps(results: Path) -> dict[Path, int]:
    """When the epochs of each attempt were last written; files come and go meanwhile."""
    found = {}
    for path in (results / "epochs").rglob("[!.]*.parquet"):
        try:
            found[path] = path.stat().st_mtime_ns
        except FileNotFoundError:
            continue
    return found


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of temporary files: sockets lie in it, so that its path must be short."""
    with tempfile.TemporaryDirectory(prefix="tq", dir="/tmp", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.delenv("RAY_TMPDIR", raising=False)
        yield Path(folder)


def test_after_a_kill_at_a_random_moment_the_record_is_as_planned(tmp_path: Path, temporary: Path) -> None:
    """Until then no other driver may run the study; afterwards the next one takes it over."""
    results = tmp_path / "results"
    # Some seconds of training for each run that is killed: 15 trials in all.
    study = tiny_study(
        workload={"model": "lenet5", "dataset": "digits", "options": {"train_limit": 512}},
        quantization={"bits": [[4, 4]]},
        training={"epochs": 5},
    )
    space = study_file(tmp_path, study)
    with begun(space, results, *BOTH) as process:
        until = time.monotonic() + START_S
        while not stamps(results):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until
            time.sleep(0.02)
        with pytest.raises(TuneQatError, match=f"Study 'tiny' is being run by process {process.pid} on this machine"):
            run(study, results=results)
        time.sleep(random.Random(5).uniform(0.0, LONGEST_S))
        assert process.poll() is None, "the study ended before it was killed"
        process.kill()
    done = finish(space, results)
    # Ray's own words stay out: beside a line a stage there are what is recorded, the rung and the backend.
    said = [line for line in done.stderr.splitlines() if line.partition(":")[0] not in PLANNED]
    assert len(said) <= 3 and said[0].endswith(" new"), done.stderr
    assert_whole(results, PLANNED)
    assert not (results / "claims").exists()
    assert_attempts_follow_one_another(results)
    assert_best_is_what_the_trials_say(results)
    # Each run has removed what the one before it left.
    assert len([path for path in (temporary / "ray").glob("session_*") if not path.is_symlink()]) == 1
    assert not list(temporary.glob("tune_qat-*"))


def assert_attempts_follow_one_another(results: Path) -> None:
    """Of an attempt that was cut off at most its last epoch is run again: that whose checkpoint was not written."""
    parts: dict[tuple[str, int], list[int]] = {}
    for path in (results / "epochs").rglob("[!.]*.parquet"):
        for row in pq.ParquetFile(path).read(["trial_key", "attempt", "epoch"]).to_pylist():
            parts.setdefault((row["trial_key"], row["attempt"]), []).append(row["epoch"])
    assert any(attempt > 1 for _, attempt in parts), "some trial was cut off"
    for (key, attempt), epochs in parts.items():
        assert epochs == list(range(epochs[0], epochs[-1] + 1))
        earlier = [parts[other, number][-1] for other, number in parts if other == key and number < attempt]
        assert epochs[0] >= max(earlier, default=1)


def assert_best_is_what_the_trials_say(results: Path) -> None:
    rows = read_rows(results, "trials")
    arms = {row["arm_id"]: row["best_config_id"] for row in read_rows(results, "arms")}
    assert len(arms) == 2
    for arm_id, best in arms.items():
        mine = [row for row in rows if row["arm_id"] == arm_id]
        whole = [row for row in mine if row["stage"] != "retrain" and row["status"] == "completed"]
        top = max(whole, key=lambda row: (row["val_metric"], row["trial_key"]))
        assert best == top["config_id"]
        assert {row["config_id"] for row in mine if row["stage"] == "retrain"} == {best}
    board = analysis.frame(results, "leaderboard")
    chosen = {(row["optimizer"], row["weight_bits"]): row["config_id"] for row in rows if row["stage"] == "retrain"}
    assert len(board) == 2 == len(chosen)
    for row in board.itertuples():
        again = [
            trial
            for trial in rows
            if trial["stage"] == "retrain"
            and (trial["optimizer"], trial["weight_bits"]) == (row.optimizer, row.weight_bits)
        ]
        assert {trial["learning_rate"] for trial in again} == {row.learning_rate}
        assert row.n == len(again) == 2
