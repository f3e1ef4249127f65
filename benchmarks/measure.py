"""What the measurements share: arms run in turns, ratios within a round, a table, and whether a bar is met."""

import argparse
import os
import platform
import shlex
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from tune_qat.results.provenance import versions
from tune_qat.training.device import cpu_name

FOLDER = Path(__file__).parent.parent / "docs" / "performance"
ROUNDS = 5
"""Fewest rounds of a result."""
BUSY = 0.5
"""Load average for each core above which something else is running."""
DRIFT = 0.1
"""Spread of the reference arm over its median above which the machine was not the same in all rounds."""
CACHE_VARIABLE = "TORCHINDUCTOR_CACHE_DIR"
PACKAGES = ("torch", "torchvision", "ray", "optuna", "brevitas")


@dataclass(frozen=True, kw_only=True, slots=True)
class Spread:
    """Of one figure over the rounds."""

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.median:.3g} ({self.low:.3g} .. {self.high:.3g})"


@dataclass(frozen=True, kw_only=True, slots=True)
class Rounds:
    """What each arm measured: once to warm up, then once in every round."""

    warm_up: Mapping[str, float]
    values: Mapping[str, Sequence[float]]

    def spread(self, arm: str) -> Spread:
        return spread(self.values[arm])

    def ratio(self, arm: str, reference: str) -> Spread:
        """Of the arm to the reference, each round by itself: what disturbs a round disturbs both."""
        pairs = zip(self.values[arm], self.values[reference], strict=True)
        return spread([value / other for value, other in pairs])


@dataclass(frozen=True, kw_only=True, slots=True)
class Bar:
    """What a figure has to reach."""

    figure: str
    limit: float
    at_least: bool = False

    def met(self, value: float) -> bool:
        """Not met by NaN."""
        return value >= self.limit if self.at_least else value <= self.limit

    def line(self, value: float) -> str:
        """The bar, the value, and `met` or `missed`."""
        word = "at least" if self.at_least else "at most"
        verdict = "met" if self.met(value) else "missed"
        return f"- {self.figure}: {value:.3g}, bar {word} {self.limit:g}: **{verdict}**"


def spread(values: Iterable[float]) -> Spread:
    """Median, smallest and largest."""
    found = list(values)
    return Spread(median=statistics.median(found), low=min(found), high=max(found))


def interleaved(arms: Mapping[str, Callable[[], float]], rounds: int) -> Rounds:
    """Every arm once to warm up, then A B C, A B C, ...: what changes slowly changes for all arms alike."""
    warm_up = {name: arm() for name, arm in arms.items()}
    values: dict[str, list[float]] = {name: [] for name in arms}
    for _ in range(rounds):
        for name, arm in arms.items():
            values[name].append(arm())
    return Rounds(warm_up=warm_up, values=values)


def seconds_per_call(call: Callable[[], Any], *, least_s: float, device: str = "cpu") -> float:
    """Mean seconds of a call, over as many calls as fill `least_s`."""
    calls_at_once = 1 if device == "cpu" else 50
    synchronize(device)
    began, calls = time.perf_counter(), 0
    while (passed := time.perf_counter() - began) < least_s:
        for _ in range(calls_at_once):
            call()
        calls += calls_at_once
        synchronize(device)
    return passed / calls


def synchronize(device: str) -> None:
    """Wait for what the device still has to do."""
    if device.startswith("cuda"):
        import torch

        torch.cuda.synchronize()


@contextmanager
def empty_compile_cache() -> Iterator[str]:
    """Compile into an empty folder, in this process and those that it starts; before anything is compiled."""
    before = os.environ.get(CACHE_VARIABLE)
    with tempfile.TemporaryDirectory(prefix="compile-cache-") as folder:
        os.environ[CACHE_VARIABLE] = folder
        try:
            yield folder
        finally:
            os.environ.pop(CACHE_VARIABLE)
            if before is not None:
                os.environ[CACHE_VARIABLE] = before


def disturbances(*, load: float, cores: int, rounds: int, reference: Sequence[float]) -> list[str]:
    """Why the figures are not to be relied on; empty where nothing speaks against them."""
    found = []
    if load > BUSY * cores:
        found.append(f"load average {load:.2f} on {cores} cores before the start: something else was running")
    if rounds < ROUNDS:
        found.append(f"{rounds} rounds, fewer than {ROUNDS}")
    drift = (max(reference) - min(reference)) / statistics.median(reference) if reference else 0.0
    if drift > DRIFT:
        found.append(f"the reference arm drifted by {drift:.0%} between rounds, more than {DRIFT:.0%}")
    return found


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A Markdown table with columns of one width."""
    cells = [list(map(str, row)) for row in (head, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(head))]
    padded = [[cell.ljust(width) for cell, width in zip(row, widths, strict=True)] for row in cells]
    head_line, *lines = (f"| {' | '.join(row)} |" for row in padded)
    return "\n".join([head_line, f"|{'|'.join('-' * (width + 2) for width in widths)}|", *lines])


def machine(device: str = "cpu") -> str:
    """Processor, cores, GPU where it is used, and versions."""
    names = [cpu_name(), f"{len(os.sched_getaffinity(0))} cores"]
    if device.startswith("cuda"):
        import torch

        names.append(f"{torch.cuda.get_device_name()} (CUDA {torch.version.cuda})")
    packages = [f"{name} {found}" for name in PACKAGES if (found := _version(name))]
    return f"{', '.join(names)}; Python {platform.python_version()}, {', '.join(packages)}"


def command_line(arguments: Sequence[str]) -> str:
    """The command as others would give it: where this machine keeps its data is of no use to them."""
    name, *options = arguments
    named = ["DATA" if before == "--data-dir" else one for before, one in zip(["", *options], options, strict=False)]
    return shlex.join(["python", "-m", f"benchmarks.{Path(name).stem}", *named])


def parser(doc: str | None, *, rounds: int = ROUNDS) -> argparse.ArgumentParser:
    """The options that every measurement has."""
    result = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    result.add_argument("--rounds", type=int, default=rounds, help=f"rounds after the warm-up (default {rounds})")
    result.add_argument("--save", action="store_true", help="write docs/performance/NAME.md")
    return result


class Report:
    """What a command prints as it goes, and with `--save` leaves in docs/performance."""

    def __init__(self, name: str, title: str, *, rounds: int, save: bool, device: str = "cpu") -> None:
        self._name, self._rounds, self._save = name, rounds, save
        self._load = os.getloadavg()[0]
        self._lines: list[str] = []
        self._disturbed: list[str] = []
        commit = versions()["git_commit"] or "unknown"
        self.add(f"# {title}")
        self.add(f"`{command_line(sys.argv)}`, {date.today().isoformat()}, commit {commit[:12]}\n\n{machine(device)}")

    def add(self, text: str) -> None:
        """A paragraph."""
        print(f"{text}\n", flush=True)
        self._lines.append(text)

    def bars(self, *bars: tuple[Bar, float]) -> None:
        """A line for each bar and the value that was measured."""
        self.add("\n".join(bar.line(value) for bar, value in bars))

    def check(self, reference: Sequence[float]) -> None:
        """Look at a reference arm's rounds for a machine that was not quiet."""
        cores = len(os.sched_getaffinity(0))
        found = disturbances(load=self._load, cores=cores, rounds=self._rounds, reference=reference)
        self._disturbed += [reason for reason in found if reason not in self._disturbed]

    def close(self) -> None:
        """Say what disturbed the measurement, and save."""
        if self._disturbed:
            self.add(f"**Disturbed**, not a result: {'; '.join(self._disturbed)}.")
        if self._save:
            FOLDER.mkdir(parents=True, exist_ok=True)
            path = FOLDER / f"{self._name}.md"
            path.write_text("\n\n".join(self._lines) + "\n", encoding="utf-8")
            print(f"saved: {path}")


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
