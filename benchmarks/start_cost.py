"""Core-seconds that a trial takes beyond its training, inside a real study.

python -m benchmarks.start_cost [--trials FEW MANY] [--rounds N] [--save]

LeNet-5 on digits, W4A4 from scratch, on one core. Processor time of all processes of a study of MANY trials less that
of one of FEW, over the difference: what a study takes once (importing, starting Ray, compiling in each process) drops
out. The training of the trials, as the record has it (`device_s`), is taken off both. What compiling into an empty
cache takes once is beside it, and the same of plain Ray Tune, with a process for each trial (of which it takes fewer).
"""

import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measure import CACHE_VARIABLE, Bar, Report, Rounds, empty_compile_cache, interleaved, parser, table
from benchmarks.processes import ProcessorTime, watched
from tune_qat.config import EAGER, INDUCTOR
from tune_qat.results.reader import read_rows

FEW, MANY = 3, 15
PLAIN_FEW, PLAIN_MANY = 2, 6
PLAIN, COMPILING = "plain Ray Tune", "compiling"
BAR = Bar(figure="core-seconds a trial beyond its training, inductor, compile cache warm", limit=0.8)
STUDY = """
[workload]
model = "lenet5"
dataset = "digits"
options = {{ train_limit = 640 }}
[quantization]
bits = [[4, 4]]
[training]
epochs = 2
init = "scratch"
[space]
optimizers = ["adam"]
batch_size = {{ low = 32, high = 32 }}
[stages]
default = false
random = {trials}
search = 0
retrain = 0
[asha]
enabled = false
[judgement]
metric = "accuracy"
margin = 0.01
"""


class Studies:
    """Runs studies one after the other on one core."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._runs = folder, 0
        self._configs: list[dict[str, Any]] = []
        self.training_s: dict[str, float] = {}
        """Core-seconds of a trial's training, median of the last study."""

    def ours(self, trials: int, backend: str, cache: str) -> tuple[float, float]:
        """Core-seconds of a study of this package: all of it, and the training alone."""
        self._runs += 1
        results, file = self._folder / f"results{self._runs}", self._folder / "benchmark.toml"
        file.write_text(STUDY.format(trials=trials))
        command = [sys.executable, "-m", "tune_qat", "run", str(file), "--backend", backend, "--results", str(results)]
        spent = _spent([*command, "--no-progress"], {CACHE_VARIABLE: cache})
        rows = read_rows(results, "trials")
        if {row["backend"] for row in rows} != {backend}:
            sys.exit(f"The study was to run with backend {backend}, and did not.")
        if trials > len(self._configs):
            self._configs = [json.loads(row["params_json"]) for row in rows]
        return spent, self._noted(backend, [row["device_s"] for row in rows])

    def plain(self, trials: int) -> tuple[float, float]:
        """The same of the peer, on the first of our configurations."""
        file, out = self._folder / "trials.json", self._folder / "plain.json"
        file.write_text(json.dumps(self._configs[:trials]))
        spent = _spent([sys.executable, "-m", "benchmarks.plain_ray_tune", str(file), str(out)], {})
        return spent, self._noted(PLAIN, [one["train_cpu_s"] for one in json.loads(out.read_text())])

    def _noted(self, arm: str, training: list[float]) -> float:
        self.training_s[arm] = statistics.median(training)
        return sum(training)


def _spent(command: list[str], environment: dict[str, str]) -> float:
    clock = ProcessorTime()
    watched(command, clock, environment=environment, cores=sorted(os.sched_getaffinity(0))[:1])
    return clock.seconds


def arms(studies: Studies, few: int, many: int, cache: str) -> dict[str, Callable[[], float]]:
    """Core-seconds of one more trial beyond its training, and of compiling once."""

    def for_one_more(run: Callable[[int], tuple[float, float]], few: int, many: int) -> Callable[[], float]:
        def measured() -> float:
            (all_many, training_many), (all_few, training_few) = run(many), run(few)
            return ((all_many - training_many) - (all_few - training_few)) / (many - few)

        return measured

    def compiling_once() -> float:
        with empty_compile_cache() as empty:
            return studies.ours(few, INDUCTOR, empty)[0] - studies.ours(few, INDUCTOR, cache)[0]

    return {
        EAGER: for_one_more(lambda trials: studies.ours(trials, EAGER, cache), few, many),
        INDUCTOR: for_one_more(lambda trials: studies.ours(trials, INDUCTOR, cache), few, many),
        PLAIN: for_one_more(studies.plain, PLAIN_FEW, PLAIN_MANY),
        COMPILING: compiling_once,
    }


def report(found: Rounds, studies: Studies, out: Report) -> None:
    """The table and the bar."""
    trials = [arm for arm in found.values if arm != COMPILING]
    rows = [[arm, found.spread(arm), f"{studies.training_s[arm]:.3g}"] for arm in trials]
    out.add(table(["backend", "core-seconds a trial beyond training", "training itself"], rows))
    out.add(f"Compiling into an empty cache takes {found.spread(COMPILING)} core-seconds more, once a study.")
    out.check(found.values[PLAIN])
    out.bars((BAR, found.spread(INDUCTOR).median))


def main() -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--trials", type=int, nargs=2, default=(FEW, MANY), metavar=("FEW", "MANY"))
    given = options.parse_args()
    few, many = given.trials
    out = Report("start_cost", "Start cost of a trial", rounds=given.rounds, save=given.save)
    out.add(f"Studies of {few} and of {many} trials on one core, {given.rounds} rounds after one to fill the cache")
    with empty_compile_cache() as cache, tempfile.TemporaryDirectory() as folder:
        studies = Studies(Path(folder))
        report(interleaved(arms(studies, few, many, cache), given.rounds), studies, out)
    out.close()


if __name__ == "__main__":
    main()
