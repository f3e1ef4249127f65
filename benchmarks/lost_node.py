"""A study on LeNet-5 and MNIST on a Ray cluster of three nodes on this machine, one of which is killed in the middle.

    python -m benchmarks.lost_node --data-dir DATA

A head without CPUs for trials and two nodes of one CPU each, with token authentication. When 12 trials have ended,
every process of one node gets SIGKILL. The study ends with the planned record, or this ends with an error.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.tuning.raylets import raylets
from tests.tuning.test_run import assert_whole
from tune_qat.config.statuses import FINAL
from tune_qat.results.reader import read_rows
from tune_qat.study import Study
from tune_qat.study.cost import stage_epochs

CHANGES = {
    "space.optimizers": ["adam", "nesterov", "lion"],
    "workload.options.train_limit": 6000,
    "training.epochs": 3,
    "pretrain.epochs": 2,
    "stages.random": 1,
    "stages.search": 3,
    "stages.retrain": 2,
}
"""What makes `lenet5_mnist` a matter of minutes."""
KILL_AFTER = 12
"""Ended trials."""


def main() -> None:
    """Run it and print what became of it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", required=True, help="folder with MNIST")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results"
        seconds, running = _run(results, given.data_dir)
        rows = read_rows(results, "trials")
        planned = {stage: trials for stage, trials, _ in stage_epochs(Study.load("lenet5_mnist", CHANGES))}
        assert_whole(results, planned)
        print(f"{sum(planned.values())} planned trials in {seconds:.0f} s, each once, every epoch once: {planned}")
        print(
            f"running when the node was killed: {running}; started again: {sum(row['n_restarts'] > 0 for row in rows)}"
        )
        print(f"how they ended: {dict(Counter(row['status'] for row in rows))}")


def _run(results: Path, data_dir: str) -> tuple[float, int]:
    """Seconds of the whole study, and the trials that were running when the node was killed."""
    changes = [word for key, value in CHANGES.items() for word in ("--set", f"{key}={value}")]
    command = [sys.executable, "-m", "tune_qat", "run", "lenet5_mnist", "--results", str(results), "--no-progress"]
    began = time.monotonic()
    with raylets(0, 1, 1) as cluster:
        where = ["--address", cluster.address, "--data-dir", data_dir]
        with subprocess.Popen([*command, *where, *changes], env=cluster.environment) as study:
            while sum(row["status"] in FINAL for row in read_rows(results, "trials")) < KILL_AFTER:
                if study.poll() is not None:
                    sys.exit("the study ended before the node was killed")
                time.sleep(0.5)
            running = sum(row["status"] == "running" for row in read_rows(results, "trials"))
            cluster.kill(3)
            if study.wait():
                sys.exit(f"the study ended with exit code {study.returncode}")
    return time.monotonic() - began, running


if __name__ == "__main__":
    main()
