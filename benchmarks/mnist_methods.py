"""Test accuracy of every quantization method with LeNet-5 on MNIST, beside what was published for it.

python -m benchmarks.mnist_methods --data-dir DATA [--save]

One trial for each line of the published table and one for the methods that it lacks: full data, five epochs, from
scratch, one seed. Finished trials are kept in a folder of the user's cache, by the hash of what they train: the same
command goes on where it was stopped, and says at which commits its lines were trained.
`--save` writes docs/results/mnist_methods.md.
"""

import argparse
import csv
import json
import multiprocessing
import os
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.measure import command_line, machine, table
from tune_qat import optimizers
from tune_qat.config import FLOAT_BITS, Scheme, TrialConfig
from tune_qat.quantizers import scheme_of
from tune_qat.results.provenance import versions
from tune_qat.training import workload
from tune_qat.training.alone import train

ROOT = Path(__file__).parent.parent
PUBLISHED = ROOT / "analysis" / "published" / "quantization_results.csv"
RESULT = ROOT / "docs" / "results" / "mnist_methods.md"
CACHE = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "tune_qat" / "mnist_methods"
EPOCHS, BATCH_SIZE, SEED = 5, 128, 0
SIGNS = ("qnn", "xnor")
"""Methods whose activations see both signs: their network ends its blocks with batch norm."""
WITHOUT_PUBLISHED = ("lsq", "lsq_plus", "pact", "dsq", "qil")
"""Methods that the published table lacks: Adam at its default rate, at the bits that LSQ's papers ask about."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A line of the table: what is trained, and what was published for it."""

    method: str
    config: TrialConfig
    published: float | None
    """Percent: best epoch of 100 on validation data."""


def rows() -> list[Row]:
    """Every line, the published ones first."""
    with PUBLISHED.open(encoding="utf-8") as file:
        found = [_published(line) for line in csv.DictReader(file) if line["dataset"] == "MNIST"]
    return found + [
        Row(method=name, config=_config(name, bits, bits, "adam", 1e-3), published=None)
        for name in WITHOUT_PUBLISHED
        for bits in (8, 4, 3, 2)
    ]


def _published(line: dict[str, str]) -> Row:
    weight_bits, activation_bits = int(line["weight_bits"]), int(line["activation_bits"])
    rate, optimizer = float(line["learning_rate"]), line["optimizer"] or "sgd_momentum"
    decay = re.search(r"weight_decay=([\d.]+)", line["recipe"])
    config = _config(
        line["quantizer"], weight_bits, activation_bits, optimizer, rate, weight_decay=float(decay[1]) if decay else 0.0
    )
    return Row(method=line["method"], config=config, published=float(line["value"]))


def _config(
    quantizer: str, weight_bits: int, activation_bits: int, optimizer: str, rate: float, *, weight_decay: float = 0.0
) -> TrialConfig:
    is_float = weight_bits == activation_bits == FLOAT_BITS
    scheme = (
        Scheme.floating_point()
        if is_float
        else scheme_of(quantizer=quantizer, weight_bits=weight_bits, activation_bits=activation_bits)
    )
    return TrialConfig(
        model="lenet5_xnor" if quantizer in SIGNS else "lenet5_bn",
        dataset="mnist",
        scheme=scheme,
        optimizer=optimizer,
        learning_rate=rate,
        optimizer_options=optimizers.resolve_options(optimizer, {"weight_decay": weight_decay}),
        batch_size=BATCH_SIZE,
        epochs=EPOCHS,
        seed=SEED,
        init_seed=SEED,
    )


def run(row: Row, data_dir: str) -> dict[str, Any]:
    """Train one line, or read what an earlier command trained."""
    path = CACHE / f"{row.config.config_id}-{SEED}.json"
    if not path.exists():
        began = time.perf_counter()
        *_, last = train(row.config, data_dir=data_dir, device="cpu", test=True)
        found = {
            "test": last.test_metric,
            "status": last.status,
            "seconds": time.perf_counter() - began,
            "commit": versions()["git_commit"],
        }
        CACHE.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(".partial")
        partial.write_text(json.dumps(found), encoding="utf-8")
        partial.replace(path)
    result: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return result


def text(found: list[tuple[Row, dict[str, Any]]], arguments: list[str]) -> str:
    """The page: how it was made, the table, what it may be compared with."""
    head = ["method", "weights", "activations", "model", "optimizer", "learning rate", "test %", "published %"]
    minutes = sum(result["seconds"] for _, result in found) / 60
    commits = ", ".join(sorted({(result.get("commit") or "unknown")[:12] for _, result in found}))
    told = {"command": command_line(arguments), "machine": machine(), "minutes": minutes, "commits": commits}
    return HEADER.format(**told) + table(head, (_cells(row, result) for row, result in found))


def _cells(row: Row, result: dict[str, Any]) -> list[str]:
    config, test = row.config, result["test"]
    return [
        row.method,
        str(config.scheme.weight_bits),
        str(config.scheme.activation_bits),
        config.model,
        config.optimizer,
        f"{config.learning_rate:g}",
        result["status"] if test is None else f"{100 * test:.2f}",
        "-" if row.published is None else f"{row.published:.2f}",
    ]


HEADER = """# Every method with LeNet-5 on MNIST

`{command}`

{machine}

One seed, {epochs} epochs of 55,000 images from scratch, batch 128, cosine schedule, and the test accuracy of the last
epoch. **Published** is the best epoch of 100 on validation data, a step schedule, with the optimizer and the learning
rate chosen for each line (wiki page by G. Falcao, 2023-01-15): twenty times the budget and another statistic, so that
it says where a method ends up, not what to expect here. Optimizer and learning rate are the published ones, where
there are; the first and the last layer are those of each method's paper (8 bits for LSQ and LSQ+, floating point for
the others). The published variant of LeNet-5 is not known; ours has batch norm, ahead of each ReLU or, for methods
whose activations take signs, behind it.

Trained at commit {commits}; {minutes:.0f} minutes of trials, two at a time, beside whatever else the machine did.

""".replace("{epochs}", str(EPOCHS))


def main() -> None:
    """Train what is missing, two trials at a time, and print the table."""
    import sys

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", required=True, help="folder of MNIST")
    parser.add_argument("--save", action="store_true", help="write docs/results/mnist_methods.md")
    parser.add_argument("--processes", type=int, default=len(os.sched_getaffinity(0)), help="trials at a time")
    given = parser.parse_args()
    workload.load("lenet5_bn", "mnist", data_dir=given.data_dir, options={})  # a missing folder is said once, here
    wanted = rows()
    with multiprocessing.get_context("spawn").Pool(given.processes) as pool:
        pending = [pool.apply_async(run, (row, given.data_dir)) for row in wanted]
        found = []
        for row, waiting in zip(wanted, pending, strict=True):
            found.append((row, waiting.get()))
            print("  ".join(_cells(*found[-1])), flush=True)
    page = text(found, sys.argv)
    print(page)
    if given.save:
        RESULT.parent.mkdir(parents=True, exist_ok=True)
        RESULT.write_text(page + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
