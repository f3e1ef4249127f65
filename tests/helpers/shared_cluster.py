"""One Ray cluster for the studies of a test process: most tests need that a study runs, and not that Ray starts."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import ClassVar

import pytest

from tests.helpers.fork_server import fork_server, fork_workers
from tune_qat.config import TuneQatError
from tune_qat.tuning.cluster.connect import cluster
from tune_qat.tuning.cluster.watch import ClusterLost

ENDS_S = 5.0


def idle() -> bool:
    """Whether no trial holds a CPU of the cluster, or soon none does."""
    import ray

    until = time.monotonic() + ENDS_S
    while ray.available_resources().get("CPU") != ray.cluster_resources().get("CPU"):
        if time.monotonic() > until:
            return False
        time.sleep(0.05)
    return True


class SharedCluster:
    """Starts with the first study, goes on between studies, and starts anew after a run whose trials may be left."""

    _used: ClassVar[list["SharedCluster"]] = []

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        """Of this cluster alone; sockets lie in it, so that its path must be short."""
        self._started: ExitStack | None = None
        self._forks = ExitStack()

    @contextmanager
    def connected(self, address: str, modules: Sequence[Path] = ()) -> Iterator[None]:
        """In place of `cluster`, which starts one for each run."""
        if address != "local":
            with cluster(address, modules):
                yield
            return
        if self._started is None:
            forks = self.folder / "forks"
            if not forks.exists():
                self._forks.enter_context(fork_server(forks))
            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("RAY_TMPDIR", str(self.folder))
                fork_workers(patch, forks)
                self._started = ExitStack()
                self._started.enter_context(cluster("local"))
        try:
            yield
        except BaseException as error:
            # One that the run ends with by itself has stopped its trials; of others, processes may be left.
            if isinstance(error, ClusterLost) or not isinstance(error, TuneQatError) or not idle():
                self.end()
            raise

    def end(self) -> None:
        if self._started is not None:
            self._started.close()
            self._started = None

    @classmethod
    def end_all(cls) -> None:
        """That of this process, if it has one."""
        for shared in cls._used:
            shared.end()

    @contextmanager
    def used(self) -> Iterator[None]:
        """Studies that are run in this block share it."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("tune_qat.tuning.run.cluster", self.connected)
            self._used.append(self)
            yield
        self._used.remove(self)
        self.end()
        self._forks.close()
