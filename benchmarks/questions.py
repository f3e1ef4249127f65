"""Every bundled question to a record of 100,000 trials and 1,000,000 epochs.

python -m benchmarks.questions [--trials N] [--rounds N] [--save]

The record is that of `benchmarks.many_trials`, as `compact` leaves it. Each question is asked by `analysis.frame`,
which opens the record for it. The reference arm is one `analysis.Answers` that is asked all of them as the report does.
All in one process; a command on top of that starts Python and its libraries.
"""

import resource
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import analysis
from benchmarks.many_trials import ARMS, Record
from benchmarks.measure import Bar, Report, Rounds, interleaved, parser, table

ALL = "all, of one `Answers`"
BAR = Bar(figure="seconds of the slowest question", limit=2.0)


def seconds_of(ask: Callable[[], object]) -> float:
    """How long it takes to be answered."""
    began = time.perf_counter()
    ask()
    return time.perf_counter() - began


def ask_all(results: Path) -> None:
    """As the report asks: one connection, every question once."""
    asked = analysis.Answers(results)
    for name in analysis.queries():
        asked.frame(name)


def report(found: Rounds, results: Path, out: Report) -> None:
    """The table and the bar."""
    names = [*analysis.queries(), ALL]
    n_rows = {name: len(analysis.arrow(results, name)) for name in analysis.queries()}
    out.add(
        table(["question", "rows", "seconds"], [[name, n_rows.get(name, ""), found.spread(name)] for name in names])
    )
    out.add(f"Largest memory of the process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3:,.0f} MB.")
    out.check(found.values[ALL])
    out.bars((BAR, max(found.spread(name).median for name in analysis.queries())))


def main() -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--trials", type=int, default=100_000, help=f"of the record, in {ARMS} arms")
    given = options.parse_args()
    out = Report("questions", "The bundled questions", rounds=given.rounds, save=given.save)
    with tempfile.TemporaryDirectory() as folder:
        record = Record(Path(folder) / "all", given.trials)
        out.add(
            f"{given.trials:,} trials of 10 epochs in {ARMS} arms: {record.files} files, {record.megabytes:.0f} MB. "
            f"{given.rounds} rounds after one to warm up."
        )
        arms = {
            name: partial(seconds_of, partial(analysis.frame, record.results, name)) for name in analysis.queries()
        } | {ALL: partial(seconds_of, partial(ask_all, record.results))}
        report(interleaved(arms, given.rounds), record.results, out)
    out.close()


if __name__ == "__main__":
    main()
