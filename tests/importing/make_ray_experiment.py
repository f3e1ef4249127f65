"""Makes the experiment in `ray_experiment/`, with a real run of Ray Tune: python -m tests.importing.make_ray_experiment

Seven trials, one after the other: one that reports NaN, two whole ones, one that comes to its own end, two that ASHA
stops, one that raises. Afterwards what is not read is taken out, names of the machine too, and every pickle, in files
and inside the JSON, is replaced by one that raises when it is loaded.
"""

import json
import math
import os
import pickle
import re
import shutil
import tempfile
from pathlib import Path
from typing import Any

import ray
from ray import tune
from ray.tune.schedulers import ASHAScheduler
from ray.tune.search import BasicVariantGenerator

HERE = Path(__file__).parent / "ray_experiment"
POINTS = [
    {"optimizer": {"name": "SGD", "lr": 1.0}, "batch_size": 32, "dropout": 0.3},
    {"optimizer": {"name": "AdamW", "lr": 1e-3}, "batch_size": 64, "dropout": 0.1},
    {"optimizer": {"name": "SGD", "lr": 1e-1}, "batch_size": 32, "dropout": 0.2},
    {"optimizer": {"name": "AdamW", "lr": 3e-3}, "batch_size": 64, "dropout": 0.3},
    {"optimizer": {"name": "AdamW", "lr": 1e-5}, "batch_size": 32, "dropout": 0.1},
    {"optimizer": {"name": "SGD", "lr": 1e-4}, "batch_size": 128, "dropout": 0.2},
    {"optimizer": {"name": "AdamW", "lr": 2e-3}, "batch_size": 128, "dropout": 0.4},
]


class Bomb:
    def __reduce__(self) -> Any:
        return exec, ("raise AssertionError('unpickled')",)


def objective(config: dict[str, Any]) -> None:
    rate = config["optimizer"]["lr"]
    best = {"AdamW": -2.7, "SGD": -1.2}[config["optimizer"]["name"]]
    for epoch in range(1, 10):
        accuracy = 1 - math.exp(-epoch / 4) - 0.1 * (math.log10(rate) - best) ** 2
        if rate == 1.0 and epoch == 2:
            accuracy = math.nan
        tune.report({"accuracy": accuracy, "train_loss": 1 - accuracy})
        if math.isnan(accuracy) or (rate == 3e-3 and epoch == 7):
            return
        if config["batch_size"] == 128 and rate == 2e-3 and epoch == 3:
            raise RuntimeError("the disk is gone")


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        ray.init(num_cpus=1, include_dashboard=False)
        tune.Tuner(
            objective,
            param_space={"optimizer": {"name": "AdamW", "lr": 1e-3}, "batch_size": 64, "dropout": 0.1},
            tune_config=tune.TuneConfig(
                num_samples=len(POINTS),
                metric="accuracy",
                mode="max",
                search_alg=BasicVariantGenerator(points_to_evaluate=POINTS, max_concurrent=1),
                scheduler=ASHAScheduler(max_t=9, grace_period=1, reduction_factor=3),
            ),
            run_config=tune.RunConfig(name="sweep", storage_path=folder),
        ).fit()
        ray.shutdown()
        shutil.rmtree(HERE, ignore_errors=True)
        shutil.copytree(Path(folder) / "sweep", HERE)
    bomb = pickle.dumps(Bomb())
    for path in HERE.rglob("*"):
        if path.suffix == ".pkl":
            path.write_bytes(bomb)
        elif path.name.startswith((".", "events.", "basic-variant")):
            path.unlink()
        elif path.suffix == ".json" or path.name in ("progress.csv", "error.txt"):
            path.write_text(_clean(path.read_text(), bomb.hex()))


def _clean(text: str, bomb: str) -> str:
    text = re.sub(r'(\\*")80[0-9a-f]{4,}2e\1', rf"\g<1>{bomb}\g<1>", text)
    text = text.replace(os.uname().nodename, "host").replace(ray.util.get_node_ip_address(), "127.0.0.1")
    return re.sub(r'File \\*"[^"\\]*/', 'File "', text)


if __name__ == "__main__":
    main()
    json.loads(next(HERE.glob("experiment_state-*.json")).read_text())
