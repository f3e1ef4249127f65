"""Starts or joins a Ray cluster quietly, and works out what each trial gets."""

import logging
import os
import secrets
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from tune_qat.config import UsageError
from tune_qat.tuning.cluster.address import no_cluster

ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",  # with verbose=0 the only silent setting
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # Parquet replaces its CSV, JSON and TensorBoard files
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # ours prints the line that resumes
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Processes started ahead lack the environment that Ray Tune gives its own: they cost 3 s of start and serve nobody.
    "RAY_prestart_worker_first_driver": "0",
    "TUNE_MAX_PENDING_TRIALS_PG": "100000",  # how many trials wait for a process is ours to say
}
"""Ray's settings, unless the user has set them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Resources:
    """What each trial holds, and how many run at once."""

    cpus: float
    gpus: float
    room: int
    """Trials that the nodes of now have room for; 0 where all nodes are still to come."""
    limit: int | None = None
    """Most trials at once, running or waiting for a node, where the user has said so."""

    @property
    def concurrent(self) -> int:
        """Trials that run at once, as far as can be said now."""
        return self.limit or self.room

    @property
    def device(self) -> str:
        """What trials train on."""
        return "cuda" if self.gpus else "cpu"

    @property
    def threads(self) -> int:
        """CPU threads of a trial: its whole CPUs, so that trials on a machine do not fight."""
        return max(1, int(self.cpus))


@contextmanager
def cluster(address: str) -> Iterator[None]:
    """A Ray session: a new one on this machine for `local`, else the one at `address` (`auto` or host:port).

    `check_reachable` says sooner, and better, what may be wrong with an address.

    Raises:
        TuneQatError: there is none.
    """
    os.environ.update({name: value for name, value in ENVIRONMENT.items() if name not in os.environ})
    if address == "local" and "RAY_AUTH_TOKEN_PATH" not in os.environ:
        # A token for this session alone: otherwise Ray leaves a token file in the home folder. The mode stays unset:
        # Ray has read it when it was imported, and turns authentication on itself for a cluster that it starts.
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    # What goes wrong in a trial is in the record, and what goes wrong here is raised.
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ray
    options: dict[str, Any] = (
        {"include_dashboard": False, "num_cpus": len(os.sched_getaffinity(0))} if address == "local" else {}
    )
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL, **options)
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise no_cluster(address, reason) from error
    try:
        yield
    finally:
        ray.shutdown()


def resources(*, cpus: float, gpus: float | None, concurrent: int | None, grows: bool = False) -> Resources:
    """What each trial gets on the connected cluster: one GPU where there are some, unless told otherwise.

    Args:
        cpus: of each trial.
        gpus: of each trial; a fraction shares a GPU.
        concurrent: most trials at once.
        grows: nodes may join. Then `concurrent` trials may wait for them, so that an autoscaler sees the demand.

    Raises:
        UsageError: more per trial than any node of the cluster has, or a part of several GPUs.
    """
    alive = nodes()
    gpus = (1.0 if any(node.get("GPU") for node in alive) else 0.0) if gpus is None else gpus
    if gpus > 1 and gpus != int(gpus):
        raise UsageError(f"--gpus-per-trial {gpus:g} is no whole number; only a part of one GPU can be shared.")
    wait = grows and concurrent is not None
    for option, wanted, kind in (("--cpus-per-trial", cpus, "CPU"), ("--gpus-per-trial", gpus, "GPU")):
        largest = max((node.get(kind, 0.0) for node in alive), default=0.0)
        if wanted > largest and not wait:
            advice = " If nodes join when trials wait for them, say how many may wait: --max-concurrent N."
            raise UsageError(
                f"{option} {wanted:g} is more than any node of the cluster has ({largest:g} {kind}s)."
                + (advice if grows else "")
            )
    fits = sum(_trials_on(node, cpus, gpus) for node in alive)
    limit = concurrent if wait or concurrent is None else min(concurrent, fits)
    return Resources(cpus=cpus, gpus=gpus, room=fits, limit=limit)


def room(cpus: float, gpus: float) -> int:
    """Trials that the nodes which are alive now have room for."""
    return sum(_trials_on(node, cpus, gpus) for node in nodes())


def nodes() -> list[dict[str, float]]:
    """Resources of the nodes that are alive."""
    import ray

    return [node["Resources"] for node in ray.nodes() if node["Alive"]]


def _trials_on(node: dict[str, float], cpus: float, gpus: float) -> int:
    by_cpu = _parts(node.get("CPU", 0.0), cpus) if cpus else None
    # A share of a GPU lies on one GPU.
    by_gpu = _parts(node.get("GPU", 0.0), gpus) if gpus >= 1 else int(node.get("GPU", 0.0)) * _parts(1.0, gpus or 1.0)
    return min(count for count in (by_cpu, by_gpu if gpus else None) if count is not None)


def _parts(whole: float, part: float) -> int:
    # 0.6 / 0.2 is a little less than 3.
    return int(whole / part + 1e-9)
