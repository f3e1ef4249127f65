"""The report, and every bundled question, of a record of 100,000 trials with 10 epochs each.

python -m benchmarks.report [--trials N] [--rounds N] [--save]

LeNet-5 on digits in 20 arms (five optimizers at four bit widths, floating point among them) of 5,000 trials, written by
`benchmarks.big_record`: made-up curves under the keys, recipes and configurations of the real planner, with retrain
trials and a row of `layers` for each quantizer and epoch, as `compact` leaves them. `report` is timed as a command,
from start to end, with the largest memory of its process; `query` likewise, once for each question.
"""

import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import psutil

from analysis.bundled import queries
from benchmarks.many_trials import ARMS, RANDOM, RETRAIN, STUDY
from benchmarks.measure import Bar, Report, Rounds, interleaved, parser, table
from benchmarks.processes import ProcessorTime, tree, watched

REPORT, MEMORY, PAGE, QUESTION = "report", "memory", "page", "slowest question"
BARS = {
    REPORT: Bar(figure="seconds of `report`", limit=30.0),
    MEMORY: Bar(figure="its largest memory, MB", limit=2000.0),
    PAGE: Bar(figure="MB of the page", limit=8.0),
    QUESTION: Bar(figure="seconds of the slowest question", limit=2.0),
}


class Watch:
    """Largest memory of a process and all that it starts, in MB, and their processor seconds, as last seen."""

    def __init__(self) -> None:
        self.megabytes = 0.0
        self.processor = ProcessorTime()

    def __call__(self, root: psutil.Process) -> None:
        """Look at it now."""
        self.processor(root)
        found = 0
        for one in tree(root):
            try:
                found += one.memory_info().rss
            except psutil.Error:
                continue
        self.megabytes = max(self.megabytes, found / 1e6)


class Record:
    """One record in a folder of its own, and what is asked of it."""

    def __init__(self, folder: Path, trials: int) -> None:
        """Written here and now."""
        self.results, self._page = folder / "results", folder / "report.html"
        study = folder / "many.toml"
        study.write_text(STUDY.format(random=RANDOM, search=trials // ARMS - 1 - RANDOM - RETRAIN, retrain=RETRAIN))
        self.written_s = _python("benchmarks.big_record", str(study), str(self.results))
        self.memory: list[float] = []
        self.processor: dict[str, list[float]] = {}

    def report(self) -> float:
        """Seconds; its memory is noted."""
        watch = Watch()
        seconds = _python("tune_qat", "report", str(self.results), "-o", str(self._page), look=watch)
        self.memory.append(watch.megabytes)
        self.processor.setdefault(REPORT, []).append(watch.processor.seconds)
        return seconds

    def question(self, name: str) -> float:
        watch = Watch()
        seconds = _python("tune_qat", "query", str(self.results), name, look=watch)
        self.processor.setdefault(name, []).append(watch.processor.seconds)
        return seconds

    @property
    def page_mb(self) -> float:
        return self._page.stat().st_size / 1e6

    @property
    def megabytes(self) -> float:
        return sum(path.stat().st_size for path in self.results.rglob("*.parquet")) / 1e6


def _python(module: str, *arguments: str, look: Callable[[psutil.Process], object] | None = None) -> float:
    return watched([sys.executable, "-m", module, *arguments], look, every_s=0.05)


def report(found: Rounds, record: Record, out: Report) -> None:
    """The tables and the bars."""
    medians = {name: found.spread(name).median for name in found.values}
    slowest = max((name for name in medians if name != REPORT), key=lambda name: medians[name])
    memory = Rounds(warm_up={}, values={MEMORY: record.memory[1:]}).spread(MEMORY)  # the first was to warm up
    # What else runs takes processors away, and hardly changes how long they are needed.
    busy = Rounds(warm_up={}, values={name: values[1:] for name, values in record.processor.items()})
    out.add(f"`report`: {memory} MB of memory, a page of {record.page_mb:.3g} MB.")
    slowest_first = [REPORT, *sorted(set(medians) - {REPORT}, key=lambda name: -medians[name])]
    rows = [[name, found.spread(name), busy.spread(name)] for name in slowest_first]
    out.add(table(["report, and each question, as a command", "seconds", "processor seconds"], rows))
    out.check(found.values[REPORT])
    reached = {REPORT: medians[REPORT], MEMORY: memory.median, PAGE: record.page_mb, QUESTION: medians[slowest]}
    out.bars(*((bar, reached[name]) for name, bar in BARS.items()))


def main() -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--trials", type=int, default=100_000, help=f"of the record, in {ARMS} arms")
    given = options.parse_args()
    out = Report("report", f"The report of {given.trials:,} trials", rounds=given.rounds, save=given.save)
    with tempfile.TemporaryDirectory() as folder:
        record = Record(Path(folder), given.trials)
        out.add(
            f"{given.trials:,} trials of 10 epochs in {ARMS} arms: {record.megabytes:.0f} MB, written in "
            f"{record.written_s:.0f} s. {given.rounds} rounds after one to warm up."
        )
        arms: dict[str, Callable[[], float]] = {REPORT: record.report}
        arms |= {name: partial(record.question, name) for name in queries()}
        report(interleaved(arms, given.rounds), record, out)
    out.close()


if __name__ == "__main__":
    main()
