"""Connection to a Ray cluster, without Ray's output, and the resources of each trial on it."""

import logging
import os
import secrets
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tune_qat.config import UsageError
from tune_qat.tuning.cluster.address import no_cluster
from tune_qat.tuning.cluster.leftovers import SESSION, held, remove_left
from tune_qat.tuning.cluster.local import check_local, ray_folder
from tune_qat.tuning.cluster.machine import usable_cpus
from tune_qat.tuning.cluster.secrecy import private_folder

ENVIRONMENT = {
    "RAY_AIR_NEW_OUTPUT": "0",  # with verbose=0 the only silent setting
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # Parquet replaces its CSV, JSON and TensorBoard files
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",  # ours prints the line that resumes
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Processes started ahead lack the environment of Ray Tune's own: they cost 3 s of start and are never used.
    "RAY_prestart_worker_first_driver": "0",
    "TUNE_MAX_PENDING_TRIALS_PG": "100000",  # `WarmUps.ahead` sets how many trials wait for a process
}
"""Settings of Ray that apply unless the user has set them."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Resources:
    """Resources of each trial, and the number of trials at once."""

    cpus: float
    gpus: float
    room: int
    """Number of trials that the present nodes have room for; 0 if all nodes are still to join."""
    limit: int | None = None
    """User's limit of trials at once, running or waiting for a node."""
    workers: int = 1
    """Processes that make the steps of a trial together; `cpus` and `gpus` are those of all of them."""

    @property
    def concurrent(self) -> int:
        """Expected number of trials at once."""
        return self.limit or self.room

    @property
    def device(self) -> str:
        return "cuda" if self.gpus else "cpu"

    @property
    def threads(self) -> int:
        """CPU threads of a process: one per whole CPU, so that trials on one machine do not compete."""
        return max(1, int(self.cpus / self.workers))


@contextmanager
def cluster(address: str, modules: Sequence[Path] = ()) -> Iterator[None]:
    """Start a Ray session on this machine for `local`, or join the one at `address` (`auto` or host:port).

    `modules` are packages, or files of single modules, that Ray brings to every process of this driver.

    Raises:
        TuneQatError: there is none; `check_reachable` finds out sooner, and with a better reason.
    """
    os.environ.update({name: value for name, value in ENVIRONMENT.items() if name not in os.environ})
    if address == "local" and "RAY_AUTH_TOKEN_PATH" not in os.environ:
        # A token for this session: otherwise Ray leaves a token file in the home folder. The mode stays unset: Ray
        # read it at import, and turns authentication on by itself for a cluster that it starts.
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
    if address == "local":
        check_local()
        private_folder()
        remove_left(ray_folder(), SESSION)
    # Errors of trials are in the record, and errors of the driver are raised.
    logging.getLogger("ray").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import ray
    local = {"include_dashboard": False, "num_cpus": usable_cpus(), "_temp_dir": str(ray_folder())}
    options: dict[str, Any] = local if address == "local" else {}
    if modules:
        options["runtime_env"] = {"py_modules": [str(module) for module in modules]}
    try:
        started: Any = ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL, **options)
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise no_cluster(address, reason) from error
    ours = held(Path(started.address_info["session_dir"])) if address == "local" else nullcontext()
    with ours:
        try:
            yield
        finally:
            ray.shutdown()


def resources(
    *, cpus: float, gpus: float | None, concurrent: int | None, grows: bool = False, workers: int | None = None
) -> Resources:
    """Return the resources of each trial on the connected cluster.

    Args:
        cpus: CPUs of each trial.
        gpus: GPUs of each trial; a fraction shares a GPU, None is one GPU if the cluster has any.
        concurrent: most trials at once.
        grows: nodes may join. Then `concurrent` trials may wait for them, so that an autoscaler sees the demand.
        workers: processes of each trial; None is one for each of several GPUs. Each has a CPU at least.

    Raises:
        UsageError: more per trial than any node of the cluster has, a fraction of several GPUs, or workers without a
            GPU each.
    """
    alive = nodes()
    gpus = (1.0 if any(node.get("GPU") for node in alive) else 0.0) if gpus is None else gpus
    if gpus > 1 and gpus != int(gpus):
        why = "trials can share one GPU, but not several"
        raise UsageError(f"--gpus-per-trial must be a whole number above 1, but got {gpus:g}: {why}.")
    workers = workers or max(1, int(gpus))
    if gpus and workers > 1 and gpus != workers:
        raise UsageError(
            f"--workers-per-trial {workers} needs a GPU for each worker, but a trial has {gpus:g}. Give "
            f"--gpus-per-trial {workers}, or 0 for workers on CPUs."
        )
    given, cpus = cpus, cpus if workers == 1 else max(cpus, float(workers))
    wait = grows and concurrent is not None
    for option, wanted, kind in (("--cpus-per-trial", cpus, "CPU"), ("--gpus-per-trial", gpus, "GPU")):
        largest = max((node.get(kind, 0.0) for node in alive), default=0.0)
        if wanted > largest and not wait:
            advice = " If nodes join when trials wait for them, say how many may wait: --max-concurrent N."
            if kind == "CPU" and wanted > given:
                option, wanted = "--workers-per-trial", workers
            why = f"{option} {wanted:g} is more than any node of the cluster has ({largest:g} {kind}s)."
            raise UsageError(why + advice * grows)
    fits = room(cpus, gpus)
    limit = concurrent if wait or concurrent is None else min(concurrent, fits)
    return Resources(cpus=cpus, gpus=gpus, room=fits, limit=limit, workers=workers)


def room(cpus: float, gpus: float) -> int:
    """Count the trials that the living nodes have room for."""
    return sum(_trials_on(node, cpus, gpus) for node in nodes())


def nodes() -> list[dict[str, float]]:
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
