"""A record of 100,000 trials with 10 epochs each: asking it, and going on with its study.

python -m benchmarks.many_trials [--trials N] [--small-files N] [--rounds N] [--save]

LeNet-5 on digits in 20 arms (five optimizers at 8/8, 4/4, 2/2 and 32/32 bits) of 5,000 trials, written by
`benchmarks.big_record`: made-up curves under the keys, recipes and configurations of the real planner, with a row of
`layers` for each of ten quantizers and epoch where bits are fewer than 32. `status` and `query leaderboard` are timed
as commands, from start to end. Resume is timed as a command, too: the study gets one more search trial an arm and is
run by `benchmarks.resumed`, from the start of the process until the first trial starts, and until every arm has started
one: by then every sampler is filled with its arm's history, and as many small trials have been trained. Beside it the
same questions to the small files of some of the trials before `compact`, `compact` itself, and after it.
"""

import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.measure import Bar, Report, Rounds, interleaved, parser, table
from benchmarks.processes import watched

ARMS = 20
RANDOM, RETRAIN = 16, 5
STATUS, LEADERBOARD, RESUME = "status", "query leaderboard", "resume"
FIRST, EVERY, MEMORY = "until the first trial starts", "until every arm has started one", "largest memory (MB)"
BARS = {
    STATUS: Bar(figure="seconds of `status`", limit=2.0),
    LEADERBOARD: Bar(figure="seconds of `query leaderboard`", limit=2.0),
    RESUME: Bar(figure=f"seconds of resume {EVERY}", limit=60.0),
}
STUDY = """
[workload]
model = "lenet5"
dataset = "digits"
options = {{ train_limit = 64 }}
[quantization]
bits = [[8, 8], [4, 4], [2, 2], [32, 32]]
[training]
epochs = 10
init = "scratch"
[space]
optimizers = ["adam", "adamw", "rmsprop", "adagrad", "sgd"]
batch_size = {{ low = 16, high = 64 }}
[stages]
default = true
random = {random}
search = {search}
retrain = {retrain}
[judgement]
metric = "accuracy"
margin = 0.01
"""


class Record:
    """One record in a folder of its own, and what is asked of it."""

    def __init__(self, folder: Path, trials: int, small_files: int = 0) -> None:
        """Written here and now; with `small_files` the files of so many of its trials."""
        self._folder, self.results = folder, folder / "results"
        self._search = trials // ARMS - 1 - RANDOM - RETRAIN
        folder.mkdir()
        self._study = folder / "many.toml"
        self._study.write_text(STUDY.format(random=RANDOM, search=self._search, retrain=RETRAIN))
        small = ["--small-files", str(small_files)] if small_files else []
        self.written_s = _python("benchmarks.big_record", str(self._study), str(self.results), *small)
        self.resumed: dict[str, list[float]] = {FIRST: [], EVERY: [], MEMORY: []}

    def status(self) -> float:
        return _python("tune_qat", "status", str(self.results))

    def leaderboard(self) -> float:
        return _python("tune_qat", "query", str(self.results), "leaderboard")

    def compact(self) -> float:
        return _python("tune_qat", "compact", str(self.results))

    def resume(self) -> float:
        """Seconds until every arm has started a trial of one more each; the record stays as it is."""
        copy, out = self._folder / "copy", self._folder / "resumed.json"
        shutil.copytree(self.results, copy)
        _python("benchmarks.resumed", str(self._study), str(copy), str(out), str(self._search + 1))
        shutil.rmtree(copy)
        noted = json.loads(out.read_text())
        for name, key in ((FIRST, "first_s"), (EVERY, "every_arm_s"), (MEMORY, "peak_mb")):
            self.resumed[name].append(noted[key])
        return float(noted["every_arm_s"])

    @property
    def megabytes(self) -> float:
        return sum(path.stat().st_size for path in self.results.rglob("*.parquet")) / 1e6

    @property
    def files(self) -> int:
        return sum(1 for _ in self.results.rglob("*.parquet"))


def _python(module: str, *arguments: str) -> float:
    return watched([sys.executable, "-m", module, *arguments])


def report_small(record: Record, trials: int, out: Report) -> None:
    """What the files of trials cost before and after they are merged."""
    before = [record.files, f"{record.megabytes:.0f}", f"{record.status():.3g}", f"{record.leaderboard():.3g}"]
    seconds = record.compact()
    after = [record.files, f"{record.megabytes:.0f}", f"{record.status():.3g}", f"{record.leaderboard():.3g}"]
    head = [f"{trials:,} trials", "files", "MB", f"{STATUS}, s", f"{LEADERBOARD}, s"]
    out.add(table(head, [["as trials leave them", *before], ["after `compact`", *after]]))
    out.add(f"`compact` itself took {seconds:.3g} s. Once each.")


def report(found: Rounds, record: Record, out: Report) -> None:
    """The tables and the bars."""
    rows: list[list[object]] = [[arm, found.spread(arm)] for arm in (STATUS, LEADERBOARD)]
    kept = {name: values[1:] for name, values in record.resumed.items()}  # the first was to warm up
    of_resume = Rounds(warm_up={}, values=kept)
    rows += [[f"resume, {name}", of_resume.spread(name)] for name in (FIRST, EVERY)]
    out.add(table(["command", "seconds"], rows))
    out.add(f"Resume: {MEMORY} of the driver {of_resume.spread(MEMORY)}.")
    out.check(found.values[STATUS])
    out.bars(*((bar, found.spread(arm).median) for arm, bar in BARS.items()))


def main() -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--trials", type=int, default=100_000, help=f"of the record, in {ARMS} arms")
    options.add_argument("--small-files", type=int, default=5_000, metavar="TRIALS", help="before and after `compact`")
    given = options.parse_args()
    out = Report("many_trials", f"A record of {given.trials:,} trials", rounds=given.rounds, save=given.save)
    with tempfile.TemporaryDirectory() as folder:
        record = Record(Path(folder) / "all", given.trials)
        out.add(
            f"{given.trials:,} trials of 10 epochs in {ARMS} arms: {record.files} files, {record.megabytes:.0f} MB, "
            f"written in {record.written_s:.0f} s as `compact` leaves them. {given.rounds} rounds after one to warm up."
        )
        arms: dict[str, Callable[[], float]] = {
            STATUS: record.status,
            LEADERBOARD: record.leaderboard,
            RESUME: record.resume,
        }
        report(interleaved(arms, given.rounds), record, out)
        if given.small_files:
            small = Record(Path(folder) / "some", given.trials, given.small_files)
            report_small(small, given.small_files, out)
    out.close()


if __name__ == "__main__":
    main()
