"""Searches of one optimizer that differ in luck alone, really trained: what the null study draws from.

python -m benchmarks.null_searches [--groups N] [--copies N] [--processes N] [-o FILE]

Each group is a repeat with a start, a subset, a validation split and an order of its own; each copy in it is a whole
search with a design of its own, as the arms of a repeat are: 16 Sobol points of the learning rate, the documented
default, the best three again with two seeds, the chosen configuration with ten fresh seeds on test data. LeNet-5 on
digits at 4/4 bits, adam. About 25 minutes on two cores for the 20 groups of 12 copies that are asked for by default;
a command that was stopped goes on with the next group.
"""

import argparse
import multiprocessing
import tempfile
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import pandas as pd

from tune_qat.config import stable_hash
from tune_qat.config.statuses import RETRAIN
from tune_qat.study import Study
from tune_qat.study.begun import Begun
from tune_qat.training import workload
from tune_qat.training.checkpoints import save_checkpoint, weights_sha256
from tune_qat.training.device import thread_count
from tune_qat.training.loop import Training
from tune_qat.training.workload import Workload
from tune_qat.tuning.objective import Objective
from tune_qat.tuning.plan import DataDraws, PlannedTrial, Planner
from tune_qat.tuning.queue import StudyQueue

SEARCHES = Path(__file__).with_name("null_searches.csv")
"""Recorded searches, which the null study reads."""
STUDY: dict[str, Any] = {
    "name": "null_study",
    "workload": {"model": "lenet5", "dataset": "digits", "options": {"train_limit": 256}},
    "repeat": {"varies": ["start", "subset", "split", "design", "order"]},
    "quantization": {"bits": [[4, 4]]},
    "training": {"epochs": 3},
    "pretrain": {"epochs": 5, "batch_size": 32},
    "space": {"optimizers": ["adam"], "batch_size": {"low": 32, "high": 32}},
    "stages": {"default": True, "random": 16, "design": "sobol", "search": 0, "retrain": 10},
    "selection": {"finalists": 3, "seeds": 2},
    "judgement": {"metric": "accuracy", "margin": 0.003},
}


class Group:
    """One repeat: its data and its start; `searches` trains whole searches from there."""

    def __init__(self, number: int, folder: Path) -> None:
        self.number = number
        repeat = {**STUDY["repeat"], "first": number + 1}
        self.study = study = Study.model_validate({**STUDY, "repeat": repeat})
        options = study.data_options(number)
        wanted = study.workload
        self.work: Workload = workload.load(wanted.model, wanted.dataset, options=options)
        self._task = self.work.task()
        self._rows: dict[str, dict[str, Any]] = {}
        start = self._train(study.pretrain_config(number), None)
        self._init = folder / f"start-{number}.pt"
        save_checkpoint(start.state_dict(), self._init)
        self._sha256 = weights_sha256(start.state_dict()["model"])

    def search(self, copy: int) -> list[dict[str, Any]]:
        """Run one search to its end; a row for each retrain trial."""
        (arm,) = self.study.arms()
        seed = int(stable_hash([self.study.name, self.number, copy]), 16) % 2**32
        trivial = self.work.reference_points()["trivial_score"]
        study = self.study.going_on(Begun(design_seeds={arm.arm_id: seed}))
        planner = Planner(study=study, work=DataDraws.of_study(study, lambda options: self.work))
        queue = StudyQueue(planner, [], objective=Objective(1, 0.0, trivial))
        queue.start_known(queue.starts[0], self._sha256)
        rows = []
        while (plan := queue.next()) is not None:
            row = self._row(plan)
            queue.ended(plan, row)
            if plan.stage == RETRAIN:
                rows.append({"group": self.number, "copy": copy, **row})
        return rows

    def _row(self, plan: PlannedTrial) -> dict[str, Any]:
        """Train a trial, once for all copies that plan it."""
        if plan.trial_key not in self._rows:
            training = self._train(plan.config, self._init, test=plan.stage == RETRAIN)
            last = self._last
            self._rows[plan.trial_key] = {
                "seed": plan.config.seed,
                "learning_rate": plan.config.learning_rate,
                "status": training.status,
                "val_metric": last.val_metric,
                "test_metric": last.test_metric,
            }
        return self._rows[plan.trial_key]

    def _train(self, config: Any, init: Path | None, *, test: bool = False) -> Training:
        training = Training(config, self.work, task=self._task, init=init)
        for self._last in training.epochs(test=test):
            pass
        return training


def searches(number: int, copies: int) -> pd.DataFrame:
    """Train all copies of a group; a row for each retrain trial."""
    with tempfile.TemporaryDirectory() as folder, thread_count(1):
        group = Group(number, Path(folder))
        return pd.DataFrame([row for copy in range(copies) for row in group.search(copy)])


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    given.add_argument("--groups", type=int, default=20)
    given.add_argument("--copies", type=int, default=12)
    given.add_argument("--processes", type=int, default=1)
    given.add_argument("-o", "--output", type=Path, default=SEARCHES)
    asked = given.parse_args()
    known = pd.read_csv(asked.output) if asked.output.exists() else pd.DataFrame()
    done = int(known["group"].max()) + 1 if len(known) else 0
    with ProcessPoolExecutor(asked.processes, multiprocessing.get_context("spawn")) as pool:
        for found in pool.map(partial(searches, copies=asked.copies), range(done, asked.groups)):
            known = pd.concat([known, found], ignore_index=True)
            known.to_csv(asked.output, index=False)
            mean, deviation = found["test_metric"].mean(), found["test_metric"].std()
            print(f"group {known['group'].max()}: test {mean:.4f} +- {deviation:.4f}", flush=True)


if __name__ == "__main__":
    main()
