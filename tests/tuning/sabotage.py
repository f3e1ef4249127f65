"""Trials that really break: they are what Ray runs instead of `StudyTrial`, and break their own process.

Each breaks trials of the optimizer sgd_clip alone, past `pretrain`; files beside the results folder tell the processes
of a trial apart.
"""

import ctypes
import os
import resource
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.studies import tiny_study
from tune_qat.study import Study
from tune_qat.training.workload import Workload
from tune_qat.tuning import session
from tune_qat.tuning.plan import PlannedTrial
from tune_qat.tuning.trainable import StudyTrial

VICTIM = "sgd_clip"


def two_arms(**changes: Any) -> Study:
    """One trial of adam and one of the victim, from scratch, long enough to be broken in the middle."""
    stages = {"default": True, "search": 0, "retrain": 0}
    section = {"epochs": 6, "init": "scratch"}
    return tiny_study(
        **{"quantization": {"bits": [[4, 4]]}, "training": section, "pretrain": None, "stages": stages, **changes}
    )


def _optimizer(config: Any) -> str | None:
    """Of a trial; None of what only warms a process up."""
    return PlannedTrial.from_json(config["plan"]).config.optimizer if "plan" in config else None


class Noted(StudyTrial):
    @property
    def folder(self) -> Path:
        """That of the results folder."""
        return Path(str(self._context.results)).parent


class Broken(Noted):
    """Breaks after an epoch was recorded and before it is reported."""

    def step(self) -> dict[str, Any]:
        report = super().step()
        if _optimizer(self.config) == VICTIM and report.get("epoch", 0) >= 2:
            self.break_down()
        return report

    def break_down(self) -> None:
        raise NotImplementedError


class Segfaults(Broken):
    """Once: a read at address 0, as of a bug in a library."""

    def break_down(self) -> None:
        marker = self.folder / "broken"
        if not marker.exists():
            marker.touch()
            ctypes.string_at(0)


class AlwaysDies(Broken):
    """In each of its processes, which it counts."""

    def break_down(self) -> None:
        (self.folder / str(os.getpid())).touch()
        os.kill(os.getpid(), signal.SIGKILL)


class Raises(StudyTrial):
    """A bug in a model or dataset, in every trial."""

    def _shared_task(self, work: Workload) -> Any:
        raise ZeroDivisionError("a bug in somebody's dataset")


class Talks(StudyTrial):
    """Ends in an error whose text holds addresses with their passwords, and where it happened."""

    def _shared_task(self, work: Workload) -> Any:
        from tests.project.planted import URLS

        if _optimizer(self.config) != VICTIM:
            return super()._shared_task(work)
        raise ConnectionError(f"{' and '.join(URLS)} are away; see {Path.home()}/logs/last.txt")


class Starved(StudyTrial):
    """Its process may not grow by more than a few megabytes: torch's allocator really fails."""

    def _begin(self, config: Any) -> Any:
        victim = _optimizer(config) == VICTIM
        self._shared_task(self._works.first)  # what is loaded already is not what should fail
        limit = _address_space() + (24 << 20) if victim else resource.RLIM_INFINITY
        resource.setrlimit(resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        return super()._begin(config)


class Hog(Broken):
    """Takes memory and holds it until Ray's monitor kills it."""

    MOST = 2_100
    """MB; more than the monitor is set to in the test."""

    def break_down(self) -> None:
        (self.folder / str(os.getpid())).touch()
        held = []
        for _ in range(self.MOST // 50):
            held.append(b"\1" * 50_000_000)
            time.sleep(0.05)
        time.sleep(10)


class Waits(Noted):
    """Not broken: after three epochs it waits for a file `go`, so that a test has the time that it takes."""

    _epoch = 0

    def step(self) -> dict[str, Any]:
        while self._epoch >= 3 and not (self.folder / "go").exists():
            time.sleep(0.02)
        report = super().step()
        self._epoch = report.get("epoch", 0)
        return report


class Tells(Noted):
    """Not broken: it writes down how many threads its process has, of torch, of OpenMP and of compiled kernels."""

    def step(self) -> dict[str, Any]:
        report = super().step()
        import torch
        from torch._inductor.utils import parallel_num_threads

        counts = (torch.get_num_threads(), os.environ.get("OMP_NUM_THREADS"), parallel_num_threads())
        (self.folder / "threads").write_text(" ".join(map(str, counts)))
        return report


@contextmanager
def broken(kind: type[StudyTrial]) -> Iterator[None]:
    """Trials of studies that are run in this block are of this kind."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(session, "StudyTrial", kind)
        yield


def _address_space() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    return pages * resource.getpagesize()


if __name__ == "__main__":
    # The command line with broken trials: python -m tests.tuning.sabotage KIND run ...
    from tests.tuning import sabotage  # under the name that workers know
    from tune_qat.cli import main

    with sabotage.broken(getattr(sabotage, sys.argv.pop(1))):
        main()
