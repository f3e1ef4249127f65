"""Memory of each concurrent trial on MNIST, beyond what importing torch and torchvision takes.

python -m benchmarks.memory --data-dir DATA [--rounds N] [--save]

LeNet-5, W4A4, two trials at a time. Largest private memory of a process that trains (USS: pages of no other process,
so neither the shared data nor the libraries' code), with that of processes which it starts, such as a compiler's; and
its largest resident memory. From the private memory that of a process which has only imported the two libraries is
taken off, measured while another such process runs, so that the libraries' pages are shared there as well. Needs /proc
(Linux).
"""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import psutil

from benchmarks.measure import Bar, Report, interleaved, parser, spread, table
from benchmarks.processes import ROOT, tree, watched
from tune_qat.config import EAGER, INDUCTOR

BAR_MB = 400.0
WORKER = "ray::StudyTrial"
"""How Ray names a process in which a trial trains."""
STUDY = """
[workload]
model = "lenet5"
dataset = "mnist"
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
[asha]
enabled = false
[judgement]
metric = "accuracy"
margin = 0.01
"""
IMPORTED = "import sys, torch, torchvision; print('ready', flush=True); sys.stdin.read()"


class Workers:
    """Largest private and resident memory of the processes that train, in MB.

    Private memory with that of the processes that they start, such as a compiler's.
    """

    def __init__(self) -> None:
        self.private: dict[int, float] = {}
        self.resident: dict[int, float] = {}

    def __call__(self, root: psutil.Process) -> None:
        """Look at them now."""
        for one in tree(root):
            try:
                if not " ".join(one.cmdline()).startswith(WORKER):
                    continue
            except psutil.Error:
                continue
            found = [memory for process in tree(one) if (memory := full_memory(process))]
            for largest, now in (
                (self.private, sum(memory.uss for memory in found)),
                (self.resident, max((memory.rss for memory in found), default=0)),
            ):
                largest[one.pid] = max(largest.get(one.pid, 0.0), now / 1e6)


def full_memory(process: psutil.Process) -> Any:
    """Of a process; None when it has ended."""
    try:
        return process.memory_full_info()
    except psutil.Error:
        return None


@contextmanager
def importer() -> Iterator[psutil.Process]:
    """A process that has imported torch and torchvision and waits."""
    command = [sys.executable, "-c", IMPORTED]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT) as process:
        assert process.stdout is not None and process.stdin is not None
        process.stdout.readline()
        yield psutil.Process(process.pid)
        process.stdin.close()


def imports_mb() -> float:
    """Private memory of a process that has only imported the libraries, in MB."""
    with importer() as one, importer():
        return float(one.memory_full_info().uss) / 1e6


def study_mb(backend: str, data_dir: str, trials: int, epochs: int) -> tuple[float, float]:
    """Private and resident memory of a trial's process in MB, the largest of the processes."""
    workers = Workers()
    with tempfile.TemporaryDirectory() as folder:
        file, results = Path(folder) / "benchmark.toml", Path(folder) / "results"
        file.write_text(STUDY.format(trials=trials, epochs=epochs))
        command = [sys.executable, "-m", "tune_qat", "run", str(file), "--results", str(results), "--no-progress"]
        watched([*command, "--backend", backend, "--data-dir", data_dir, "--max-concurrent", "2"], workers)
    if not workers.private:
        sys.exit(f"No process named {WORKER!r} was seen: Ray names its processes otherwise now.")
    return max(workers.private.values()), max(workers.resident.values())


def main() -> None:
    """Measure and print."""
    options = parser(__doc__)
    options.add_argument("--data-dir", required=True, help="folder with MNIST")
    options.add_argument("--trials", type=int, default=4, help="of the study (default 4)")
    options.add_argument("--epochs", type=int, default=1, help="of a trial, 55,000 images each (default 1)")
    given = options.parse_args()
    out = Report("memory", "Memory of a concurrent trial", rounds=given.rounds, save=given.save)
    out.add(f"{given.trials} trials of {given.epochs} epochs, two at a time, {given.rounds} rounds")
    resident: dict[str, list[float]] = {EAGER: [], INDUCTOR: []}

    def private_mb(backend: str) -> float:
        private, own_resident = study_mb(backend, given.data_dir, given.trials, given.epochs)
        resident[backend].append(own_resident)
        return private - imports_mb()

    arms = {backend: partial(private_mb, backend) for backend in resident}
    found = interleaved(arms, given.rounds)
    rows = [[backend, found.spread(backend), spread(resident[backend][1:])] for backend in resident]
    out.add(table(["backend", "private MB beyond imports", "resident MB"], rows))
    out.check([])
    bars = {name: Bar(figure=f"{name}, private MB beyond imports", limit=BAR_MB) for name in resident}
    out.bars(*((bar, found.spread(name).median) for name, bar in bars.items()))
    out.close()


if __name__ == "__main__":
    main()
