"""A driver that is really killed. Deaths at every step of a study are those of tests/simulate/test_resume.py, without
processes; many real ones, one after the other, are those of `python -m benchmarks.kills`.
"""

import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import analysis
from tests.helpers.runs import assert_whole, begun, finish, study_file
from tests.helpers.studies import tiny_study
from tune_qat.config import TuneQatError
from tune_qat.results.reader import read_rows
from tune_qat.trackers.export import export
from tune_qat.tuning.run import run

pytestmark = [pytest.mark.ray, pytest.mark.slow]

PLANNED = {"pretrain": 1, "default": 2, "random": 2, "search": 6, "retrain": 4}

BOTH = ("--max-concurrent", "2")
"""Two arms at once: the kill meets a trial that waits beside one that trains or waits, too."""
START_S = 180.0


def waits(results: Path) -> bool:
    """Whether a trial is in its middle: of those of the kind `Waits` the first that begins stays behind its third epoch
    (ASHA stops none that is the first at a rung).
    """
    for path in (results / "epochs").rglob("[!.]*.parquet"):
        with suppress(FileNotFoundError, pa.ArrowInvalid):  # it is replaced with each epoch
            if pq.ParquetFile(path).metadata.num_rows >= 3:
                return True
    return False


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of temporary files: sockets lie in it, so that its path must be short."""
    with tempfile.TemporaryDirectory(prefix="tq", dir="/tmp", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.delenv("RAY_TMPDIR", raising=False)
        yield Path(folder)


def test_after_a_kill_in_the_middle_of_a_trial_the_record_is_as_planned(tmp_path: Path, temporary: Path) -> None:
    """Until then no other driver may run the study; afterwards the next one takes it over."""
    results = tmp_path / "results"
    # Some seconds of training for each run that is killed: 15 trials in all.
    study = tiny_study(
        workload={"model": "lenet5", "dataset": "digits", "options": {"train_limit": 512}},
        quantization={"bits": [[4, 4]]},
        training={"epochs": 5},  # the start has two
        logging={"tensorboard": str(tmp_path / "log")},
    )
    space = study_file(tmp_path, study)
    with begun(space, results, *BOTH, kind="Waits") as process:
        until = time.monotonic() + START_S
        while not waits(results):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < until
            time.sleep(0.02)
        with pytest.raises(TuneQatError, match=f"Study 'tiny' is being run by process {process.pid} on this machine"):
            run(study, results=results)
        process.kill()
    done = finish(space, results)
    # Ray's own words stay out: beside what it is and does, and a line a stage, there are the rung and the backend.
    said = [line for line in done.stderr.splitlines() if not line.endswith(" ...")]
    said = [line for line in said if line.partition(":")[0] not in PLANNED]
    assert len(said) <= 6 and said[3].endswith(" new"), done.stderr
    assert_whole(results, PLANNED)
    assert not (results / "claims").exists()
    assert_attempts_follow_one_another(results)
    assert_best_is_what_the_trials_say(results)
    assert_log_is_an_export(results, tmp_path)
    # Each run has removed what the one before it left.
    assert len([path for path in (temporary / "ray").glob("session_*") if not path.is_symlink()]) == 1
    assert not list(temporary.glob("tune_qat-*"))


def assert_log_is_an_export(results: Path, folder: Path) -> None:
    """Each epoch is in it once, though two drivers and two attempts have written it."""
    export(results, None, "tensorboard", str(folder / "exported"))
    log, exported = (
        {str(path.relative_to(folder / name)): path.read_bytes() for path in (folder / name).rglob("*tfevents*")}
        for name in ("log", "exported")
    )
    assert len(log) == 1 + sum(PLANNED.values()) and log == exported


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
