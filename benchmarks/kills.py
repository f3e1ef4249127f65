"""Studies that share a results folder and trials, whose drivers are killed at random moments, alone and two at once.

    python -m benchmarks.kills --kills 20

Each round picks one or two of three studies, runs them, and sends SIGKILL to their drivers. A study that has ended is
replaced by another one. After every round, no file of the studies that did not run may have changed. In the end all
studies run to their end, and each has its planned trials once, every epoch once, and a decision at every rung that a
trial has passed. This ends with an error otherwise.
"""

import argparse
import hashlib
import random
import subprocess
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import psutil

from tests.helpers.runs import begun, finish, study_file
from tests.helpers.studies import tiny_study
from tune_qat.config.statuses import FINAL, RETRAIN, SEARCH
from tune_qat.results.reader import read_rows
from tune_qat.results.views import connect
from tune_qat.study import Study
from tune_qat.study.cost import stage_epochs

STUDIES = 3
"""Studies to choose from at any time."""
EARLIEST_S, LATEST_S = 5.0, 25.0
"""Life of a driver; its first trial starts after about 5 s."""
CLUSTER_ENDS_S = 120.0
"""Time that the processes of a killed driver have to end by themselves."""


class Folder:
    """The shared folder and its studies."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.results = folder, folder / "results"
        self.studies: dict[str, Study] = {}
        self.open: list[str] = []
        """Studies that have not ended."""
        for _ in range(STUDIES):
            self.add()

    def add(self) -> None:
        """Add a study; its default trials are those of every other one of its kind, and so is its start."""
        number = len(self.studies)
        study = tiny_study(
            name=f"study_{number}",
            mode="joint" if number % 3 == 2 else "comparison",
            workload={"model": "lenet5", "dataset": "digits", "options": {"train_limit": 512}},
            training={"epochs": 5},
            stages={"default": True, "random": 1, "search": 3 + number, "retrain": 2},
        )
        self.studies[study.name] = study
        self.open.append(study.name)
        study_file(self.folder, study)

    def file(self, name: str) -> Path:
        return self.folder / f"{name}.toml"

    def others(self, names: list[str]) -> dict[Path, str]:
        """Return the hash of every file of the studies that are not named."""
        theirs = (path for path in self.results.rglob("*") if path.is_file() and not set(path.parts) & parts(names))
        return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in theirs}


def parts(names: list[str]) -> set[str]:
    """Return the folder names that files of these studies lie in."""
    return {f"study_id={name}" for name in names}


def kill(driver: int) -> None:
    """Kill a driver, and wait until the processes of its cluster have seen it: a trial writes until then."""
    process = psutil.Process(driver)
    cluster = process.children(recursive=True)
    process.kill()
    _, alive = psutil.wait_procs(cluster, CLUSTER_ENDS_S)
    assert not alive, f"{len(alive)} processes run {CLUSTER_ENDS_S} s after their driver was killed: {alive}"


def check_others(before: dict[Path, str], after: dict[Path, str], names: list[str]) -> None:
    """Check that no file of another study changed while these ran."""
    changed = [str(path) for path in before.keys() | after.keys() if before.get(path) != after.get(path)]
    assert not changed, f"while {names} ran, files of other studies changed: {changed}"


def main() -> None:
    """Kill drivers, run all studies to their end, and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    began, kills = time.monotonic(), 0
    with tempfile.TemporaryDirectory() as made:
        shared, chance = Folder(Path(made)), random.Random(given.seed)
        while kills < given.kills:
            kills += _round(shared, chance)
        for name in list(shared.open):
            before = shared.others([name])
            finish(shared.file(name), shared.results)
            check_others(before, shared.others([name]), [name])
        found = [whole(shared.results, study) for study in shared.studies.values()]
    print(f"{kills} kills over {len(found)} studies in one folder, {time.monotonic() - began:.0f} s")
    print(f"trials as planned, each once: {sum(one['trials'] for one in found)}")
    print(f"of them taken over from another study: {sum(one['taken'] for one in found)}")
    print(f"epochs, each once: {sum(one['epochs'] for one in found)}; rungs passed, each decided: "
          f"{sum(one['rungs'] for one in found)}")  # fmt: skip


def _round(shared: Folder, chance: random.Random) -> int:
    """Run one or two studies and kill their drivers; return the number of kills."""
    names = chance.sample(shared.open, chance.choice((1, 1, 2)))
    before = shared.others(names)
    started = [(begun(shared.file(name), shared.results), chance.uniform(EARLIEST_S, LATEST_S)) for name in names]
    since, kills = time.monotonic(), 0
    for process, moment in sorted(started, key=lambda one: one[1]):
        try:
            process.wait(max(0.0, since + moment - time.monotonic()))
            assert process.returncode == 0, process.communicate()
        except subprocess.TimeoutExpired:
            kill(process.pid)
            kills += 1
        process.communicate()
    check_others(before, shared.others(names), names)
    for name, (process, _) in zip(names, started, strict=True):
        if process.returncode == 0:
            shared.open.remove(name)
            shared.add()
    return kills


def whole(results: Path, study: Study) -> dict[str, int]:
    """Check the record of a study that has ended; return its counts of trials, epochs and rungs."""
    rows = read_rows(results, "trials", study.name)
    planned = {stage: trials for stage, trials, _ in stage_epochs(study)}
    assert Counter(row["stage"] for row in rows) == Counter(planned), study.name
    assert {row["status"] for row in rows} <= {*FINAL}
    epochs = _epochs(results, study.name)
    for row in rows:
        assert epochs.get(row["trial_key"], []) == list(range(1, row["epochs_run"] + 1)), (study.name, row)
    rungs = 0
    decided = {(row["trial_key"], row["rung"]) for row in read_rows(results, "decisions", study.name)}
    for row in rows:
        if row["stage"] == SEARCH:
            # A trial that diverges at a rung ends there by itself.
            passed = [rung for rung in study.rungs if rung <= row["epochs_run"] - (row["status"] == "diverged")]
            assert all((row["trial_key"], rung) in decided for rung in passed), (study.name, row)
            rungs += len(passed)
    best = {row["arm_id"]: row["best_config_id"] for row in read_rows(results, "arms", study.name)}
    assert all(row["config_id"] == best[row["arm_id"]] for row in rows if row["stage"] == RETRAIN)
    taken = sum(row["taken_from"] is not None for row in rows)
    return {"trials": len(rows), "epochs": sum(map(len, epochs.values())), "rungs": rungs, "taken": taken}


def _epochs(results: Path, study_id: str) -> dict[str, list[int]]:
    sql = "SELECT trial_key, list(epoch ORDER BY epoch) FROM epochs WHERE study_id = ? GROUP BY ALL"
    found: list[tuple[Any, ...]] = connect(results).execute(sql, [study_id]).fetchall()
    return dict(found)


if __name__ == "__main__":
    main()
