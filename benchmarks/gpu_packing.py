"""Trials an hour against trials on a GPU, and what `--gpus-per-trial auto` chooses.

python -m benchmarks.gpu_packing [--packings 1 2 4 8] [--trials N] [--rounds N] [--save]
python -m benchmarks.gpu_packing --device cpu --packings 1 2 --trials 2 --rounds 1

Needs ray, optuna and duckdb as well: `pip install .` LeNet-5 on the digits inside scikit-learn and ESPCN on its
photographs, W4A4 from scratch, whole trials; seconds from a run's start to its end. Each packing has its own record,
and the first run of each is not counted: it compiles. Then the study runs once with `auto`, whose line says how much
memory the largest trial takes. The second command goes through the same code without a GPU, and its figures say
nothing.
"""

import subprocess
import sys
import tempfile
from argparse import Namespace
from functools import partial
from pathlib import Path

import torch

from benchmarks.measure import Report, interleaved, parser, spread, table
from tune_qat.results.reader import read_rows
from tune_qat.tuning.gpu.packing import fraction

STUDY = """
[workload]
model = "{model}"
dataset = "{dataset}"
[quantization]
bits = [[4, 4]]
[training]
epochs = {epochs}
init = "scratch"
[space]
optimizers = ["adam"]
batch_size = {{ low = 64, high = 64 }}
[stages]
default = false
random = {trials}
search = 0
retrain = 0
[judgement]
metric = "{metric}"
margin = 0.01
"""
WORKLOADS = (("lenet5", "digits", "accuracy", 30), ("espcn", "photos", "psnr", 20))


def run(study: Path, results: Path, share: list[str]) -> str:
    """One run of a study from nothing; what it said."""
    command = [sys.executable, "-m", "tune_qat", "run", str(study), "--results", str(results), "--no-progress", *share]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stderr


def share(packing: int, device: str) -> list[str]:
    """The options that put so many trials on a GPU."""
    part = ["--gpus-per-trial", f"{fraction(packing):g}"] if device == "cuda" else []
    return [*part, "--max-concurrent", str(packing)]


def seconds(study: Path, folder: Path, packing: int, device: str) -> float:
    """Of one run, as its record says."""
    with tempfile.TemporaryDirectory(dir=folder) as name:
        results = Path(name)
        run(study, results, share(packing, device))
        failed = [row["status"] for row in read_rows(results, "trials") if row["status"] != "completed"]
        if failed:
            sys.exit(f"{len(failed)} trials of {packing} on a GPU ended as {', '.join(sorted(set(failed)))}.")
        return float(read_rows(results, "studies")[0]["wall_s"])


def measure(workload: tuple[str, str, str, int], folder: Path, given: Namespace, out: Report) -> None:
    """The table of one workload, and the line of `auto`."""
    model, dataset, metric, epochs = workload
    study = folder / f"{model}.toml"
    study.write_text(STUDY.format(model=model, dataset=dataset, metric=metric, epochs=epochs, trials=given.trials))
    arms = {str(packing): partial(seconds, study, folder, packing, given.device) for packing in given.packings}
    found = interleaved(arms, given.rounds)
    first = str(given.packings[0])
    rows = [
        [
            packing,
            found.spread(packing),
            spread(given.trials * 3600 / value for value in found.values[packing]),
            found.ratio(first, packing),
        ]
        for packing in arms
    ]
    out.add(f"## {model}-{dataset}: {given.trials} trials of {epochs} epochs")
    out.add(table(["trials on a GPU", "seconds", "trials an hour", f"times as fast as {first}"], rows))
    out.check(found.values[first])
    said = run(study, folder / f"{model}-auto", ["--gpus-per-trial", "auto"])
    out.add(f"auto: {next(line for line in said.splitlines() if 'GPU' in line)}")


def main() -> None:
    """Measure and print, a workload after the other."""
    options = parser(__doc__, rounds=3)
    options.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    options.add_argument("--packings", type=int, nargs="+", default=[1, 2, 4, 8], help="trials on a GPU")
    options.add_argument("--trials", type=int, default=16, help="of each run")
    given = options.parse_args()
    if given.device == "cuda" and not torch.cuda.is_available():
        sys.exit("No GPU: torch.cuda.is_available() is false. Run this where there is one, or with --device cpu.")
    if given.save and given.device == "cpu":
        sys.exit("--save is for a GPU's figures, and this is --device cpu.")
    out = Report("gpu_packing", "Trials that share a GPU", rounds=given.rounds, save=given.save, device=given.device)
    with tempfile.TemporaryDirectory(prefix="gpu-packing-") as folder:
        for workload in WORKLOADS:
            measure(workload, Path(folder), given, out)
    out.close()


if __name__ == "__main__":
    main()
