"""The workers of a trial: processes on its node that make its steps together, started by the trial's own process.

The trial's process is the first worker. It alone evaluates, records and writes checkpoints, so that a trial looks to
Ray Tune, the record and the next run as one of a single process does. The others wait between epochs.
"""

import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import ray
from ray import tune
from ray.exceptions import RayActorError, RayTaskError
from ray.util import get_current_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from tune_qat.config import EpochResult
from tune_qat.config.statuses import RUNNING
from tune_qat.storage.paths import StoragePath
from tune_qat.training.workers import Workers, follow
from tune_qat.tuning.cluster.connect import Resources
from tune_qat.tuning.cluster.nodes import check_versions_here
from tune_qat.tuning.plan import PlannedTrial
from tune_qat.tuning.trial_context import TrialContext

HOST = "127.0.0.1"
"""Where the workers of a trial meet: they are on one node."""
PATIENCE = timedelta(minutes=30)
"""Longest wait for another worker in a sum, as torch has it."""
LAST_WORDS_S = 10.0
"""Seconds in which the end of a worker becomes known, once a sum with it has failed."""


def bundles(given: Resources) -> Any:
    """Return what Ray Tune holds for a trial: the same for each of its workers, on one node."""
    part = {"CPU": given.cpus / given.workers, "GPU": given.gpus / given.workers}
    return tune.PlacementGroupFactory([part] * given.workers, strategy="STRICT_PACK")


class Team:
    """The other workers of a trial's process, for all trials that follow one another in it."""

    def __init__(self, context: TrialContext) -> None:
        """Start them in the trial's placement group, and meet them."""
        given = context.given
        group = get_current_placement_group()
        assert group is not None  # `bundles` has made it
        options = [
            {
                "num_cpus": given.cpus / given.workers,
                "num_gpus": given.gpus / given.workers,
                "scheduling_strategy": PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=index),
            }
            for index in range(1, given.workers)
        ]
        self._others: list[Any] = [ray.remote(Other).options(**one).remote(context) for one in options]
        store = _store(0)
        with self._together(lambda other, rank: other.meet.remote(rank, store.port)):
            _join(given, store, 0)
        self.workers = Workers()

    def begin(self, plan: PlannedTrial, init: StoragePath | None, begin: Callable[[Workers], Any]) -> Any:
        """Return the training that `begin` makes here, with the others at its state."""
        with self._together(lambda other, rank: other.begin.remote(plan.to_json(), init)):
            return begin(self.workers)

    def share(self, training: Any) -> None:
        """Bring the others to the state of this training: what it has loaded, or begun with."""
        state = ray.put(_portable(training.state_dict()))
        with self._together(lambda other, rank: other.load.remote(state)):
            pass

    def epochs(self, results: Iterator[EpochResult]) -> Iterator[EpochResult]:
        """Yield the results of a training of these workers; each epoch is one of all."""
        while True:
            with self._together(lambda other, rank: other.epoch.remote()):
                result = next(results)
            yield result
            if result.status != RUNNING:
                return

    def end(self) -> None:
        """End the other workers' processes, in whatever they are."""
        import torch.distributed as dist

        for other in self._others:
            ray.kill(other)
        if dist.is_initialized():
            dist.destroy_process_group()

    @contextmanager
    def _together(self, ask: Callable[[Any, int], Any]) -> Iterator[None]:
        """Let the others do what `ask` asks of each while the block runs; both have ended behind it.

        A worker that has died takes this process with it, which Ray Tune sees as it sees any lost trial. Raises the
        error of a worker, where that is what the block's own error comes from.
        """
        failed: list[RayTaskError] = []
        try:
            asked = [ask(other, rank) for rank, other in enumerate(self._others, start=1)]
        except RayActorError:
            os._exit(1)
        watch = threading.Thread(target=_watch, args=(asked, failed), daemon=True)
        watch.start()
        try:
            yield
        except Exception as error:
            if _of_the_network(error):
                watch.join(LAST_WORDS_S)
            if failed:
                raise failed[0].cause from error
            raise
        watch.join()
        if failed:
            raise failed[0].cause


class Other:
    """A further worker of a trial, an actor of Ray; it does what the first one asks, and reports nothing."""

    def __init__(self, context: TrialContext) -> None:
        from tune_qat.training.host_memory import keep_freed

        keep_freed()
        self._context = context
        self._works = ray.get(context.works)
        self._tasks: dict[str, Any] = {}
        self._training: Any = None

    def meet(self, rank: int, port: int) -> None:
        import torch

        from tune_qat.training.compiler import set_precision

        check_versions_here(self._context.versions)
        self._context.code.opened()
        torch.set_num_threads(self._context.given.threads)
        set_precision(self._context.given.device)
        _join(self._context.given, _store(port), rank)

    def begin(self, plan_json: str, init: StoragePath | None) -> None:
        from tune_qat.training.loop import Training

        self._training = None  # before another model takes its memory
        plan = PlannedTrial.from_json(plan_json)
        work, device = self._works.of(plan.config.dataset_options), self._context.given.device
        split = work.dataset.split_fingerprint
        if split not in self._tasks:
            self._tasks[split] = work.task(device)
        task = self._tasks[split]
        self._training = Training(plan.config, work, device=device, init=init, task=task, workers=Workers())

    def load(self, state: Any) -> None:
        self._training.load_state_dict(state)

    def epoch(self) -> None:
        """Train an epoch; where that fails, leave the group, so that the first worker waits no longer."""
        try:
            follow(self._training)
        except BaseException:
            import torch.distributed as dist

            dist.destroy_process_group()
            raise


def _portable(state: Any) -> Any:
    """Return a state with its tensors on the CPU, as a copy."""
    import torch

    if isinstance(state, torch.Tensor):
        return state.detach().cpu().clone()
    if isinstance(state, dict):
        return {name: _portable(value) for name, value in state.items()}
    return [_portable(one) for one in state] if isinstance(state, list) else state


def _store(port: int) -> Any:
    import torch.distributed as dist

    store: Any = dist.TCPStore  # type: ignore[attr-defined]  # public, and not in its __all__
    return store(HOST, port, is_master=not port, wait_for_workers=False, timeout=PATIENCE)


def _join(given: Resources, store: Any, rank: int) -> None:
    import torch.distributed as dist

    backend = "nccl" if given.device == "cuda" else "gloo"
    dist.init_process_group(backend, store=store, rank=rank, world_size=given.workers, timeout=PATIENCE)


def _watch(asked: list[Any], failed: list[Any]) -> None:
    for one in asked:
        try:
            ray.get(one)
        except RayActorError:
            os._exit(1)
        except RayTaskError as error:
            failed.append(error)


def _of_the_network(error: Exception) -> bool:
    import torch.distributed as dist

    return isinstance(error, dist.DistError) or "gloo" in str(error) or "Connection" in str(error)
