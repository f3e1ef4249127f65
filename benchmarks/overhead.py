"""What a study costs beyond its trials: 1,000 small ones in this package, and in bare Ray Tune.

python -m benchmarks.overhead [--trials N] [--cores N] [--rounds N] [--save]

A trial is the smallest real training that goes through the whole loop: LeNet-5 on 64 digits, W4A4 from scratch, Adam,
one or two steps an epoch at batch size 64 or 32, validation on 359 digits, 3 epochs unless ASHA stops it after the
first (reduction factor 3). Learning rate and batch size come from Optuna's TPE. Both sides run the very same `Training`
in the same space, eagerly, in reused processes, with loggers off (`benchmarks.overhead_sides`). The peer keeps nothing;
this package leaves its whole record: `epochs` and `layers` after every epoch, a checkpoint after every epoch that is
not the last, `trials` at a trial's start and end, `decisions`.

Each side is a command, timed from start to end. ASHA's decisions depend on the order in which trials end, so that the
sides run slightly different numbers of epochs: ratios are given as they are and for each epoch. Ray Tune starts a
second process only for a trial that is longer than a process takes to start; the table says how many each side had.
Core-seconds are those of all processes of a side: what was computed, however many cores it was spread over, and however
busy the machine was. `--cores 1` holds both sides to one process.
"""

import json
import os
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.measure import Bar, Report, Rounds, interleaved, parser, table
from benchmarks.overhead_sides import LEARNING_RATE, LOG2_BATCH_SIZE
from benchmarks.processes import ProcessorTime, watched

TRIALS = 1_000
OURS, BARE = "this package", "bare Ray Tune"
BAR = Bar(figure=f"wall time, {OURS} / {BARE}", limit=1.15)
STUDY = """
[workload]
model = "lenet5"
dataset = "digits"
options = {{ train_limit = 64 }}
[quantization]
bits = [[4, 4]]
[training]
epochs = 3
init = "scratch"
[space]
optimizers = ["adam"]
batch_size = {{ low = {batch[0]}, high = {batch[1]} }}
learning_rate = {{ low = {rate[0]}, high = {rate[1]} }}
[stages]
default = false
random = 0
search = {trials}
retrain = 0
[asha]
grace_epochs = 1
[judgement]
metric = "accuracy"
margin = 0.01
"""


class Sides:
    """Runs either side; what each run said of itself is kept."""

    def __init__(self, folder: Path, trials: int, cores: Sequence[int]) -> None:
        self._folder, self._trials, self._cores = folder, trials, cores
        self._study = folder / "overhead.toml"
        batch = [2**power for power in LOG2_BATCH_SIZE]
        self._study.write_text(STUDY.format(trials=trials, batch=batch, rate=LEARNING_RATE))
        self._runs = 0
        self.said: dict[str, list[dict[str, Any]]] = {OURS: [], BARE: []}

    def run(self, side: str) -> float:
        """Seconds of one run."""
        self._runs += 1
        out, clock = self._folder / f"{self._runs}.json", ProcessorTime()
        word = "ours" if side == OURS else "bare"
        command = [sys.executable, "-m", "benchmarks.overhead_sides", word, str(self._study), str(out)]
        seconds = watched([*command, str(self._folder / f"run{self._runs}")], clock, cores=self._cores)
        found = json.loads(out.read_text())
        if found["trials"] != self._trials:
            sys.exit(f"{side} was to run {self._trials} trials, and ran {found['trials']}.")
        self.said[side].append({**found, "core_s": clock.seconds, "seconds": seconds})
        return seconds


def growth(memory: Mapping[str, float]) -> float:
    """MB per 1,000 trials between the two looks at the driver's memory."""
    (first, before), (last, after) = sorted((int(trials), mb) for trials, mb in memory.items())
    return 1_000 * (after - before) / (last - first)


def of_each(said: Mapping[str, Sequence[dict[str, Any]]], value: Callable[[dict[str, Any]], float]) -> Rounds:
    """A figure of every run but the first, which is to warm up."""
    return Rounds(warm_up={}, values={side: [value(one) for one in runs[1:]] for side, runs in said.items()})


def report(sides: Sides, trials: int, out: Report) -> Rounds:
    """The tables; gives the seconds."""
    figures: dict[str, Callable[[dict[str, Any]], float]] = {
        "wall s": lambda run: run["seconds"],
        "wall ms a trial": lambda run: 1e3 * run["seconds"] / trials,
        "wall ms an epoch": lambda run: 1e3 * run["seconds"] / run["epochs"],
        "core-ms a trial": lambda run: 1e3 * run["core_s"] / trials,
        "core-ms an epoch": lambda run: 1e3 * run["core_s"] / run["epochs"],
        "epochs": lambda run: run["epochs"],
        "processes": lambda run: run["processes"],
        "driver grows, MB per 1,000 trials": lambda run: growth(run["memory_mb"]),
    }
    found = {name: of_each(sides.said, value) for name, value in figures.items()}
    ratios = {name for name in figures if "s" in name.split() or "ms" in name or "core-ms" in name}
    rows = [
        [name, one.spread(OURS), one.spread(BARE), one.ratio(OURS, BARE) if name in ratios else "-"]
        for name, one in found.items()
    ]
    out.add(table(["figure", OURS, BARE, "ratio"], rows))
    return found["wall s"]


def main() -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--trials", type=int, default=TRIALS)
    options.add_argument("--cores", type=int, default=2)
    given = options.parse_args()
    cores = sorted(os.sched_getaffinity(0))[: given.cores]
    name = "overhead" if given.cores == 2 else f"overhead_{given.cores}"
    out = Report(name, f"{given.trials:,} small trials", rounds=given.rounds, save=given.save)
    out.add(f"{given.trials:,} trials on {len(cores)} cores, {given.rounds} rounds after one to warm up.")
    with tempfile.TemporaryDirectory() as folder:
        sides = Sides(Path(folder), given.trials, cores)
        interleaved({side: partial(sides.run, side) for side in (BARE, OURS)}, given.rounds)
        seconds = report(sides, given.trials, out)
    out.check(seconds.values[BARE])
    out.bars((BAR, seconds.ratio(OURS, BARE).median))
    out.close()


if __name__ == "__main__":
    main()
