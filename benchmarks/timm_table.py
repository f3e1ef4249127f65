"""Table of timm's networks that convert: `python -m benchmarks.timm_table --record FILE.csv`.

Goes on where the record ends: a name is tried once for each version of timm. One process tries a name after the other;
it has a limit of memory and each name one of time, and where it ends with a name, that is the name's line.

    python -m benchmarks.timm_table --record timm.csv --names 'mobilenet*' 'vit_*'   # some names
    python -m benchmarks.timm_table --record timm.csv --families                     # the smallest one of each family
    python -m benchmarks.timm_table --record timm.csv --show                         # what is recorded
"""

import argparse
import csv
import fnmatch
import multiprocessing
import resource
import time
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, fields
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import timm
import torch

from benchmarks.timm_convert import TOO_LARGE, Row, convert, family_of, parameters_of, side_of

COLUMNS = [one.name for one in fields(Row)]
BAR = 0.8
"""Share of names up to 100 M parameters that is to convert."""


class Worker:
    """Process that converts names, and is replaced where one of them ends it."""

    def __init__(self, seconds: float, gigabytes: float) -> None:
        """Give each name so many seconds, and the process so much memory."""
        self._seconds, self._bytes = seconds, int(gigabytes * 2**30)
        self._process: Any = None
        self._pipe: Connection | None = None

    def convert(self, name: str) -> Row:
        """Convert a name, or say how it ended the process."""
        if self._process is None or not self._process.is_alive():
            self._begin()
        assert self._pipe is not None
        begun = time.perf_counter()
        self._pipe.send(name)
        found = ""
        try:
            if self._pipe.poll(self._seconds):
                answer = self._pipe.recv()
                if isinstance(answer, Row):
                    return answer
                found = answer
            else:
                found = f"more than {self._seconds:.0f} s"
        except EOFError:
            found = "the process died"
        self.end()
        return Row(
            name=name,
            family=family_of(name),
            parameters=0,
            side=0,
            converts=False,
            reason=found,
            seconds=round(time.perf_counter() - begun, 2),
        )

    def end(self) -> None:
        """End the process, if there is one."""
        if self._process is not None:
            self._process.kill()
            self._process.join()
        self._process = None

    def _begin(self) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_work, args=(other, self._bytes), daemon=True)
        self._process.start()
        other.close()
        self._pipe.recv()  # libraries are loaded: they are not in a name's time


def _work(pipe: Connection, most: int) -> None:
    torch.set_num_threads(1)
    resource.setrlimit(resource.RLIMIT_DATA, (most, most))
    pipe.send("ready")
    while True:
        name = pipe.recv()
        try:
            pipe.send(convert(name))
        except MemoryError:
            pipe.send(f"more than {most / 2**30:.0f} GB")


def recorded(path: Path) -> dict[str, Row]:
    """Read the record's rows of this version of timm, by name; a line that was cut off is left out."""
    if not path.exists():
        return {}
    with path.open(encoding="utf-8", newline="") as file:
        rows = [one for one in csv.DictReader(file) if None not in one.values()]
    return {one["name"]: _row(one) for one in rows if one["timm_version"] == timm.__version__}


def _row(values: dict[str, str]) -> Row:
    return Row(
        name=values["name"],
        family=values["family"],
        parameters=int(values["parameters"]),
        side=int(values["side"]),
        converts=values["converts"] == "True",
        reason=values["reason"],
        detail=values["detail"],
        share=float(values["share"]) if values["share"] else None,
        layers=int(values["layers"]),
        seconds=float(values["seconds"]),
        timm_version=values["timm_version"],
    )


def append(path: Path, row: Row) -> None:
    """Write a row behind the record's last one."""
    new = not path.exists()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        if new:
            writer.writeheader()
        writer.writerow(asdict(row))


def smallest_of_families(names: Iterable[str]) -> list[str]:
    """Return the name with the fewest parameters of each module of timm; counting takes a tenth of a second each."""
    best: dict[str, tuple[int, str]] = {}
    for name in names:
        try:
            found = parameters_of(name) * side_of(name) ** 2, name
        except Exception:  # one that does not build without memory is not the one to try
            continue
        family = family_of(name)
        best[family] = min(best.get(family, found), found)
    return [name for _, name in sorted(best.values())]


def summary(rows: Sequence[Row]) -> str:
    """Return how many convert, and the reasons of the others, the most frequent first."""
    tried = [row for row in rows if row.reason != TOO_LARGE]
    good = sum(row.converts for row in tried)
    lines = [f"{good} of {len(tried)} convert" + (f" ({good / len(tried):.1%}; bar {BAR:.0%})" if tried else "")]
    lines += [f"{len(rows) - len(tried)} more have too many parameters"] if len(tried) < len(rows) else []
    reasons = Counter(row.reason for row in tried if not row.converts)
    for reason, count in reasons.most_common():
        example = next(row for row in tried if row.reason == reason)
        lines.append(f"{count:5}  {reason}, as {example.name}{': ' if example.detail else ''}{example.detail[:120]}")
    return "\n".join(lines)


def main() -> None:
    """Try the names that the record lacks, and print what it then says."""
    given = _arguments()
    names = [name for name in timm.list_models() if any(fnmatch.fnmatch(name, one) for one in given.names)]
    if given.families:
        names = smallest_of_families(names)
    known = recorded(given.record)
    worker = Worker(given.seconds, given.memory)
    missing = [name for name in names if name not in known and not given.show]
    try:
        for name in missing[: given.limit]:
            known[name] = worker.convert(name)
            append(given.record, known[name])
            print(f"{name}: {known[name].reason or 'converts'} ({known[name].seconds} s)", flush=True)
    finally:
        worker.end()
    print(summary([known[name] for name in names if name in known]))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", type=Path, required=True, help="CSV file, read and added to")
    parser.add_argument("--names", nargs="+", default=["*"], help="patterns of names")
    parser.add_argument("--families", action="store_true", help="the smallest network of each family")
    parser.add_argument("--limit", type=int, help="most names of this run")
    parser.add_argument("--seconds", type=float, default=180.0, help="most seconds of a name")
    parser.add_argument("--memory", type=float, default=6.0, help="most memory of the process, in GB")
    parser.add_argument("--show", action="store_true", help="try nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
