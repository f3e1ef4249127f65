"""Either side of `benchmarks.overhead`, in a process of its own: the same trials in a study, and in bare Ray Tune.

python -m benchmarks.overhead_sides ours|bare STUDY.toml OUT.json FOLDER

OUT.json gets trials, epochs, processes, and the driver's resident memory (MB) at 100 trials and at the end.
"""

import argparse
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
import ray
from optuna.samplers import TPESampler
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search.optuna import OptunaSearch

from tune_qat.cli.run_screen import RunScreen
from tune_qat.config import EAGER
from tune_qat.results.reader import read_rows
from tune_qat.study import Study
from tune_qat.training import workload
from tune_qat.training.host_memory import keep_freed
from tune_qat.training.loop import Training
from tune_qat.training.workload import Workload
from tune_qat.tuning.cluster.connect import ENVIRONMENT
from tune_qat.tuning.run import run

FIRST = 100
"""Trials after which the driver's memory is first looked at: by then it has loaded and started everything."""

LEARNING_RATE, LOG2_BATCH_SIZE = (1e-4, 1e-2), (5, 6)
"""The searched ranges, on both sides."""


class Memory:
    """Resident memory of this process by trials ended."""

    def __init__(self, trials: int) -> None:
        self._at = (min(FIRST, trials // 2), trials)
        self._ended = 0
        self.mb: dict[int, float] = {}

    def ended(self) -> None:
        """Another trial has ended."""
        self._ended += 1
        if self._ended in self._at:
            self.mb[self._ended] = psutil.Process().memory_info().rss / 1e6


def ours(study: Study, folder: Path) -> dict[str, Any]:
    """The study as `tune-qat run --no-progress` runs it, in `folder`."""
    memory = Memory(study.stages.search)
    screen = RunScreen(live=False)

    def told(event: str, plan: Any, values: Mapping[str, Any]) -> None:
        if event == "ended":
            memory.ended()

    @contextmanager
    def watched(searcher: Any, resources: Any) -> Iterator[None]:
        with screen.display(searcher, resources):
            searcher.listen(told)
            yield
            found["processes"] = len(searcher.warm_ups.seen)

    found: dict[str, Any] = {}
    run(study, results=folder, backend=EAGER, display=watched)
    rows = read_rows(folder, "trials")
    return {**found, "trials": len(rows), "epochs": sum(row["epochs_run"] for row in rows), "memory_mb": memory.mb}


def space(trial: Any) -> None:
    """The study's space, as a user would write it for Optuna. Ray Tune pickles it."""
    trial.suggest_float("learning_rate", *LEARNING_RATE, log=True)
    trial.suggest_int("log2_batch_size", *LOG2_BATCH_SIZE)


class BareTrial(tune.Trainable):
    """What a user would write around the same training: an epoch a step, processes reused, nothing kept."""

    def setup(self, config: dict[str, Any], study: Study, work: Workload) -> None:  # type: ignore[override]
        keep_freed()
        self._study, self._work, self._task = study, work, work.task()
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        values = {"learning_rate": new_config["learning_rate"], "batch_size": 2 ** new_config["log2_batch_size"]}
        arm = self._study.arms()[0]
        config = self._study.config(arm, arm.optimizers[0], values, seed=self._study.seed)
        self._epochs = Training(config, self._work, task=self._task, backend=EAGER).epochs()
        return True

    def step(self) -> dict[str, Any]:
        result = next(self._epochs)
        # ASHA and Optuna want a number; what diverged is worst.
        metric = 0.0 if result.val_metric is None else result.val_metric
        return {"epoch": result.epoch, "metric": metric, "done": result.status != "running", "process": os.getpid()}

    def save_checkpoint(self, checkpoint_dir: str) -> dict[str, Any]:
        return {}

    def load_checkpoint(self, checkpoint: dict[str, Any] | None) -> None:
        pass


class Counts(tune.Callback):
    """What the peer has run."""

    def __init__(self, trials: int) -> None:
        self.memory = Memory(trials)
        self.epochs = 0
        self.processes: set[int] = set()

    def on_trial_result(
        self, iteration: int, trials: list[Any], trial: Any, result: dict[str, Any], **info: Any
    ) -> None:
        self.epochs += 1
        self.processes.add(result["process"])

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:
        self.memory.ended()

    def __getstate__(self) -> dict[str, Any]:
        return {}


def bare(study: Study, folder: Path) -> dict[str, Any]:
    """The same number of trials in the same space, with the same ASHA and Optuna's TPE."""
    section = study.workload
    work = workload.load(section.model, section.dataset, options=section.options)
    ray.init(address="local", num_cpus=len(os.sched_getaffinity(0)), include_dashboard=False, log_to_driver=False)
    counts = Counts(study.stages.search)
    scheduler = ASHAScheduler(
        time_attr="epoch",
        metric="metric",
        mode="max",
        max_t=study.training.epochs + 1,  # the last epoch is the trial's own end
        grace_period=study.first_rung,
        reduction_factor=study.asha.reduction_factor,
    )
    search = OptunaSearch(
        space=space,
        metric="metric",
        mode="max",
        sampler=TPESampler(seed=study.seed, n_startup_trials=study.search.startup_trials),
    )
    tuner = tune.Tuner(
        tune.with_parameters(BareTrial, study=study, work=work),
        tune_config=tune.TuneConfig(
            search_alg=search, scheduler=scheduler, num_samples=study.stages.search, reuse_actors=True
        ),
        run_config=tune.RunConfig(
            storage_path=str(folder),
            verbose=0,
            failure_config=tune.FailureConfig(fail_fast=True),
            checkpoint_config=tune.CheckpointConfig(checkpoint_frequency=0, checkpoint_at_end=False),
            callbacks=[counts],
        ),
    )
    results = tuner.fit()
    if results.errors:
        raise results.errors[0]
    ray.shutdown()
    return {
        "trials": len(results),
        "epochs": counts.epochs,
        "processes": len(counts.processes),
        "memory_mb": counts.memory.mb,
    }


def main() -> None:
    """Run one side, and write what it did."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("side", choices=("ours", "bare"))
    options.add_argument("study")
    options.add_argument("out", type=Path)
    options.add_argument("folder", type=Path)
    given = options.parse_args()
    # Loggers off, no output, no processes started ahead: for both.
    os.environ.update(ENVIRONMENT)
    found = {"ours": ours, "bare": bare}[given.side](Study.load(given.study), given.folder)
    given.out.write_text(json.dumps(found))


if __name__ == "__main__":
    main()
