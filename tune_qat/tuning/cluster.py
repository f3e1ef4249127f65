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
from tune_qat.tuning.address import no_cluster

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
}
"""Ray's settings, unless the user has set them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Resources:
    """What each trial holds, and how many run at once."""

    cpus: float
    gpus: float
    concurrent: int
    """Trials that run at once."""
    limited: bool
    """Whether that is the user's limit, below what the cluster has room for."""

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


def resources(*, cpus: float, gpus: float | None, concurrent: int | None, may_grow: bool = False) -> Resources:
    """What each trial gets on the connected cluster: one GPU where there are some, unless told otherwise.

    On a cluster that may grow, `concurrent` counts even above what there is room for now: an autoscaler adds nodes for
    trials that wait.

    Raises:
        UsageError: more per trial than any node of the cluster has.
    """
    import ray

    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    total = {kind: sum(node.get(kind, 0.0) for node in nodes) for kind in ("CPU", "GPU")}
    gpus = (1.0 if total["GPU"] else 0.0) if gpus is None else gpus
    for option, wanted, kind in (("--cpus-per-trial", cpus, "CPU"), ("--gpus-per-trial", gpus, "GPU")):
        largest = max((node.get(kind, 0.0) for node in nodes), default=0.0)
        if wanted > largest:
            raise UsageError(f"{option} {wanted:g} is more than any node of the cluster has ({largest:g} {kind}s).")
    fits = [_trials_on(node, cpus, gpus) for node in nodes]
    room = sum(fits)
    limited = concurrent is not None and (may_grow or concurrent < room)
    return Resources(cpus=cpus, gpus=gpus, concurrent=concurrent if limited and concurrent else room, limited=limited)


def _trials_on(node: dict[str, float], cpus: float, gpus: float) -> int:
    by_cpu = int(node.get("CPU", 0.0) / cpus) if cpus else None
    by_gpu = int(node.get("GPU", 0.0) / gpus) if gpus else None
    return min(count for count in (by_cpu, by_gpu) if count is not None)
