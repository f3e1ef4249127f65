"""Whole studies on all cores: this package beside plain Ray Tune as people write it, the same configurations.

python -m benchmarks.whole_study [--asha] [--only MODEL ...] [--data-dir DATA] [--trials N] [--rounds N] [--save]

LeNet-5 on MNIST (needs --data-dir) and ESPCN on photographs, W4A4 from scratch; every trial to its end, or with
`--asha` early stopping and short trials. Seconds from the start of the command to its end: importing, starting Ray,
decoding and all. Each round runs this package first and hands the configurations in its record to the peer,
`benchmarks.plain_ray_tune`. The first run compiles into an empty cache; it is not counted, and shown beside.
"""

import json
import sys
import tempfile
from argparse import Namespace
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import (
    CACHE_VARIABLE,
    Bar,
    Report,
    Rounds,
    empty_compile_cache,
    interleaved,
    parser,
    spread,
    table,
)
from benchmarks.processes import watched
from tune_qat.results.reader import read_rows

OURS, PLAIN = "this package", "plain Ray Tune"
STUDY = """
[workload]
model = "{model}"
dataset = "{dataset}"
options = {options}
[quantization]
bits = [[4, 4]]
[training]
epochs = {epochs}
init = "scratch"
[space]
optimizers = {optimizers}
batch_size = {{ low = 32, high = 64 }}
learning_rate = {{ low = 1e-4, high = 1e-2 }}
[stages]
default = false
random = {random}
search = {search}
retrain = 0
[search]
sampler = "random"
[asha]
enabled = {asha}
grace_epochs = 1
[judgement]
metric = "{metric}"
margin = 0.01
"""


@dataclass(frozen=True, kw_only=True)
class Workload:
    """What is trained, and the training samples and epochs that make a run of half a minute or more."""

    name: str
    model: str
    dataset: str
    metric: str
    options: str
    trials: int
    epochs: int
    asha: bool = False

    @property
    def bar(self) -> Bar:
        return Bar(figure=f"{self.name}, {PLAIN} / {OURS}", limit=3.0 if self.asha else 1.8, at_least=True)

    def study(self) -> str:
        """The study file. With ASHA one optimizer, for there is one ASHA an arm."""
        optimizers = ["adam"] if self.asha else ["adam", "nesterov"]
        per_arm = max(1, self.trials // len(optimizers))
        values: Mapping[str, Any] = {
            **self.__dict__,
            "optimizers": json.dumps(optimizers),
            "random": 0 if self.asha else per_arm,
            "search": per_arm if self.asha else 0,
            "asha": str(self.asha).lower(),
        }
        return STUDY.format(**values)


LENET5: Any = {"model": "lenet5", "dataset": "mnist", "metric": "accuracy"}
ESPCN: Any = {"model": "espcn", "dataset": "photos", "metric": "psnr"}
WORKLOADS = (
    Workload(name="lenet5-mnist", **LENET5, options="{ train_limit = 8000 }", trials=20, epochs=3),
    Workload(name="espcn-photos", **ESPCN, options="{ patches_per_image = 320 }", trials=12, epochs=4),
    Workload(name="lenet5-mnist, ASHA", **LENET5, options="{ train_limit = 1000 }", trials=30, epochs=9, asha=True),
    Workload(name="espcn-photos, ASHA", **ESPCN, options="{ patches_per_image = 32 }", trials=30, epochs=9, asha=True),
)


class Sides:
    """Both sides of one workload; the peer takes its configurations from our last record."""

    def __init__(self, workload: Workload, folder: Path, data_dir: str | None) -> None:
        self._workload, self._folder = workload, folder
        self._data = ["--data-dir", data_dir] if data_dir else []
        self._runs = 0
        self.backends: set[str] = set()
        self.epochs: dict[str, list[int]] = {OURS: [], PLAIN: []}
        self.metrics: dict[str, list[float]] = {OURS: [], PLAIN: []}

    def ours(self) -> float:
        """Seconds of the study; its record is kept for the peer."""
        self._runs += 1
        results, file = self._folder / f"results{self._runs}", self._folder / "benchmark.toml"
        file.write_text(self._workload.study())
        command = [sys.executable, "-m", "tune_qat", "run", str(file), "--results", str(results), "--no-progress"]
        seconds = watched([*command, *self._data])
        rows = read_rows(results, "trials")
        self.backends |= {row["backend"] for row in rows}
        self._trials.write_text(json.dumps([json.loads(row["params_json"]) for row in rows]))
        metrics = [row["val_metric"] for row in rows if row["val_metric"] is not None]
        self._note(OURS, [row["epochs_run"] for row in rows], metrics)
        return seconds

    def plain(self) -> float:
        """Seconds of the peer."""
        out = self._folder / "plain.json"
        command = [sys.executable, "-m", "benchmarks.plain_ray_tune", str(self._trials), str(out)]
        seconds = watched([*command, *self._data, *(["--asha", "1"] if self._workload.asha else [])])
        results = json.loads(out.read_text())
        self._note(PLAIN, [one["epoch"] for one in results], [one["metric"] for one in results])
        return seconds

    @property
    def _trials(self) -> Path:
        return self._folder / "trials.json"

    def _note(self, side: str, epochs: list[int], metrics: list[float]) -> None:
        self.epochs[side].append(sum(epochs))
        self.metrics[side].append(max(metrics))


def report(workload: Workload, found: Rounds, sides: Sides, out: Report) -> None:
    """The table of one workload, and its bar."""
    rows = [
        [
            side,
            found.spread(side),
            spread(sides.epochs[side][1:]),
            f"{spread(sides.metrics[side][1:]).median:.4g}",
            f"{found.warm_up[side]:.1f}",
        ]
        for side in found.values
    ]
    out.add(f"## {workload.name}: {workload.trials} trials of at most {workload.epochs} epochs")
    out.add(table(["side", "seconds", "trial-epochs", f"best {workload.metric}", "first run, s"], rows))
    ratio = found.ratio(PLAIN, OURS)
    out.add(f"{PLAIN} / {OURS}: {ratio}. Ours ran with backend {' and '.join(sorted(sides.backends))}.")
    # Work that differs in amount from round to round, as with ASHA, is no sign of a machine that is not quiet.
    out.check([] if workload.asha else found.values[PLAIN])
    out.bars((workload.bar, ratio.median))


def chosen(given: Namespace) -> list[Workload]:
    """The workloads that were asked for, those that need a data folder only with one; cut to `--trials`."""
    found = [one for one in WORKLOADS if one.asha == given.asha and (given.data_dir or one.dataset == "photos")]
    found = [one for one in found if not given.only or one.model in given.only]
    if not found:
        sys.exit("Nothing to run: --only takes espcn and lenet5, and lenet5 needs --data-dir.")
    return [Workload(**{**one.__dict__, "trials": given.trials or one.trials}) for one in found]


def measure(workload: Workload, folder: Path, given: Namespace, out: Report) -> None:
    """One workload."""
    sides = Sides(workload, folder, given.data_dir)
    arms: dict[str, Callable[[], float]] = {OURS: sides.ours, PLAIN: sides.plain}
    report(workload, interleaved(arms, given.rounds), sides, out)


def main() -> None:
    """Measure and print, a workload after the other."""
    options = parser(__doc__)
    options.add_argument("--asha", action="store_true", help="early stopping and short trials")
    options.add_argument("--only", nargs="*", default=[], metavar="MODEL", help="espcn, lenet5")
    options.add_argument("--data-dir", help="folder with MNIST")
    options.add_argument("--trials", type=int, help="of each run, in place of those that the workload plans")
    given = options.parse_args()
    workloads = chosen(given)
    name, title = ("whole_study_asha", "Whole studies with ASHA") if given.asha else ("whole_study", "Whole studies")
    out = Report(name, title, rounds=given.rounds, save=given.save)
    out.add(f"W4A4 from scratch, {given.rounds} rounds after one into an empty compile cache ({CACHE_VARIABLE})")
    if not given.data_dir:
        out.add("MNIST was left out: no --data-dir.")
    for workload in workloads:
        with empty_compile_cache(), tempfile.TemporaryDirectory() as folder:
            measure(workload, Path(folder), given, out)
    out.close()


if __name__ == "__main__":
    main()
