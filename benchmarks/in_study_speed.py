"""One long trial inside a study, beside the same trial as a script of its own: what the study takes from it.

python -m benchmarks.in_study_speed [--epochs N] [--backend NAME] [--rounds N] [--save]

ESPCN on photographs, W4A4, one thread; nothing else runs. Two figures: training alone, from the recorded seconds
(`wall_s`), and the whole trial, with evaluation, record, checkpoints and reports: in the study from when it was handed
out to when its row was written, as a script from the start of its process to its end.
"""

import sys
import tempfile
from pathlib import Path

from benchmarks.measure import Bar, Report, Rounds, interleaved, parser, table
from benchmarks.processes import watched
from tune_qat.config import EAGER, INDUCTOR
from tune_qat.results.reader import read_rows

EPOCHS, LONG_S = 50, 60.0
INSIDE, ALONE = "in a study", "a script of its own"
TRAINING, WHOLE = "training", "whole trial"
SCRIPT = """
import json, sys
from pathlib import Path
from tune_qat import TrialConfig, train

config = TrialConfig.from_dict(json.loads(sys.argv[1]))
*_, last = train(config, threads=1, device="cpu", backend=sys.argv[2])
Path(sys.argv[3]).write_text(str(last.wall_s))
"""
STUDY = """
[workload]
model = "espcn"
dataset = "photos"
options = {{ patches_per_image = 480 }}
[quantization]
bits = [[4, 4]]
[training]
epochs = {epochs}
init = "scratch"
[space]
optimizers = ["adam"]
batch_size = {{ low = 16, high = 16 }}
[stages]
default = true
search = 0
retrain = 0
[asha]
enabled = false
[judgement]
metric = "psnr"
margin = 0.1
"""


class Sides:
    """Both sides; the script takes its configuration from our last record."""

    def __init__(self, folder: Path, epochs: int, backend: str) -> None:
        self._folder, self._epochs, self._backend, self._runs = folder, epochs, backend, 0
        self._config = ""
        self.whole_s: dict[str, list[float]] = {INSIDE: [], ALONE: []}

    def inside(self) -> float:
        """Seconds of training in a study of this one trial."""
        self._runs += 1
        results, file = self._folder / f"results{self._runs}", self._folder / "benchmark.toml"
        file.write_text(STUDY.format(epochs=self._epochs))
        command = [sys.executable, "-m", "tune_qat", "run", str(file), "--results", str(results), "--no-progress"]
        watched([*command, "--backend", self._backend, "--max-concurrent", "1"])
        (row,) = read_rows(results, "trials")
        self._config = row["params_json"]
        self.whole_s[INSIDE].append((row["finished_at"] - row["started_at"]).total_seconds())
        return float(row["wall_s"])

    def alone(self) -> float:
        """The same of the script."""
        out = self._folder / "seconds"
        seconds = watched([sys.executable, "-c", SCRIPT, self._config, self._backend, str(out)])
        self.whole_s[ALONE].append(seconds)
        return float(out.read_text())


def report(training: Rounds, sides: Sides, out: Report) -> None:
    """The table and the bar, for both figures."""
    found = {TRAINING: training, WHOLE: Rounds(warm_up={}, values={k: v[1:] for k, v in sides.whole_s.items()})}
    rows = [[name, one.spread(INSIDE), one.spread(ALONE), one.ratio(ALONE, INSIDE)] for name, one in found.items()]
    out.add(table(["", f"{INSIDE}, s", f"{ALONE}, s", "speed in the study / alone"], rows))
    shortest = min(training.values[ALONE])
    if shortest < LONG_S:
        out.add(f"The trial trained for {shortest:.0f} s, less than the {LONG_S:.0f} s of the bar: raise --epochs.")
    out.check(training.values[ALONE])
    bars = [Bar(figure=f"{name}, speed in the study / alone", limit=0.97, at_least=True) for name in found]
    out.bars(*((bar, one.ratio(ALONE, INSIDE).median) for bar, one in zip(bars, found.values(), strict=True)))


def main() -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--epochs", type=int, default=EPOCHS, help=f"of the trial (default {EPOCHS})")
    options.add_argument("--backend", default=EAGER, choices=(EAGER, INDUCTOR))
    given = options.parse_args()
    out = Report("in_study_speed", "A trial inside a study", rounds=given.rounds, save=given.save)
    out.add(f"{given.epochs} epochs, backend {given.backend}, {given.rounds} rounds")
    with tempfile.TemporaryDirectory() as folder:
        sides = Sides(Path(folder), given.epochs, given.backend)
        report(interleaved({INSIDE: sides.inside, ALONE: sides.alone}, given.rounds), sides, out)
    out.close()


if __name__ == "__main__":
    main()
