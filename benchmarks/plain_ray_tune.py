"""The peer of whole studies: a Ray Tune script as people write it, for configurations that are given.

python -m benchmarks.plain_ray_tune TRIALS.json OUT.json [--data-dir DATA] [--asha EPOCHS]

A function that trains and reports every epoch, a process for each trial, textbook LSQ, a DataLoader, Ray's defaults.
"""

import argparse
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler

REDUCTION_FACTOR = 3


def trial(config: dict[str, Any]) -> None:
    """One trial."""
    from benchmarks.textbook_loop import train

    for result in train(config["trial"], config["data_dir"]):
        tune.report(result)


def main() -> None:
    """Run the trials, and write their last results."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("trials", type=Path)
    options.add_argument("out", type=Path)
    options.add_argument("--data-dir")
    options.add_argument("--asha", type=int, default=0, metavar="EPOCHS", help="stop early, first after EPOCHS")
    given = options.parse_args()
    trials = json.loads(given.trials.read_text())
    # Ray would count all cores, also where this process may use some of them only.
    ray.init(address="local", num_cpus=len(os.sched_getaffinity(0)))
    scheduler = None
    if given.asha:
        longest = max(one["epochs"] for one in trials)
        scheduler = ASHAScheduler(max_t=longest, grace_period=given.asha, reduction_factor=REDUCTION_FACTOR)
    with tempfile.TemporaryDirectory() as storage:
        tuner = tune.Tuner(
            trial,
            param_space={"trial": tune.grid_search(trials), "data_dir": given.data_dir},
            tune_config=tune.TuneConfig(metric="metric", mode="max", scheduler=scheduler),
            run_config=tune.RunConfig(storage_path=storage),
        )
        results = tuner.fit()
    if results.errors:
        raise results.errors[0]
    last = (results[number].metrics or {} for number in range(len(results)))
    kept = ("epoch", "metric", "train_cpu_s")
    given.out.write_text(json.dumps([{name: metrics[name] for name in kept} for metrics in last]))


if __name__ == "__main__":
    main()
