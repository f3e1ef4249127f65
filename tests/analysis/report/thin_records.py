"""Records that lack what a whole study has, each in a way of its own."""

from collections.abc import Callable
from pathlib import Path

import pyarrow.parquet as pq

from tests.analysis.report.synthetic_study import SyntheticStudy
from tests.helpers.rows import filled, write
from tests.importing.sweeps import typed
from tests.importing.test_ray_tune import EXPERIMENT

Make = Callable[[Path], object]
THREE = ("adam", "sgd", "sgd_agc")
"""Enough optimizers for every comparison, one of which diverges: nothing that is missing depends on their number."""


def no_arms(results: Path) -> None:
    write(results, "bare", "studies", "study", filled("studies", definition_json='{"name": "bare"}', mode="comparison"))


def no_trials(results: Path) -> None:
    SyntheticStudy(results, complete=False, optimizers=THREE)
    for table in ("trials", "epochs", "layers"):
        for path in (results / table).rglob("*.parquet"):
            path.unlink()


def _with(status: str | None, stages: tuple[str, ...] = ("default", "random", "search", "retrain")) -> Make:
    """The synthetic study with the trials of these stages alone, all of a status where one is given."""

    def make(results: Path) -> None:
        SyntheticStudy(results, complete=False, optimizers=THREE)
        (path,) = (results / "trials").rglob("*.parquet")
        rows = [row for row in pq.read_table(path).to_pylist() if row["stage"] in stages]
        lost = {"status": status, "val_metric": None, "val_metric_best": None, "test_metric": None, "stop_reason": None}
        write(results, "made_up", "trials", "all", *({**row, **(lost if status else {})} for row in rows))

    return make


def imported(results: Path) -> None:
    done = typed("import", "ray-tune", EXPERIMENT, "--results", results)
    assert done.exit_code == 0, done.exception


def one_trial_of_each_optimizer(results: Path) -> None:
    SyntheticStudy(results, random=0, search=0, seeds=1, optimizers=THREE)


_RETRAIN, _TUNING = "No retrain trial has ended", "No default, random or search trial has ended."
_COMPLETED = "No default, random or search trial was completed"
RECORDS: dict[str, tuple[Make, tuple[str, ...]]] = {
    "no arms": (no_arms, ()),
    "no trials": (no_trials, (_RETRAIN, _TUNING, "is not finished: 0 of 180 planned trials")),
    "nothing ended": (_with("running"), (_RETRAIN, _TUNING, "is not finished: 0 of 180 planned trials")),
    "only diverged": (_with("diverged"), (_COMPLETED,)),
    "no retrain": (_with(None, ("default", "random", "search")), (_RETRAIN,)),
    "retrain alone": (_with(None, ("retrain",)), (_TUNING,)),
    "defaults alone": (_with(None, ("default",)), (_RETRAIN, "No random trial")),
    "one optimizer": (lambda results: SyntheticStudy(results, optimizers=("adam",)), ()),
    "one arm": (lambda results: SyntheticStudy(results, optimizers=("adam",), bits=(4,)), ("Without a 32/32 arm",)),
    "floating point alone": (
        lambda results: SyntheticStudy(results, bits=(32,), optimizers=THREE),
        ("No quantized arm",),
    ),
    "one seed": (lambda results: SyntheticStudy(results, seeds=1, optimizers=THREE), ()),
    "two seeds": (lambda results: SyntheticStudy(results, seeds=2, optimizers=THREE), ()),
    "one trial": (one_trial_of_each_optimizer, ("No random trial",)),
    "joint": (lambda results: SyntheticStudy(results, mode="joint", optimizers=THREE), ("does not rank optimizers",)),
    "imported": (imported, (_RETRAIN, "imported from ray-tune", "does not rank optimizers")),
}
"""By what they lack: how they are made, and what their page says of it.

What was interrupted counts as what runs, and an error as a trial that diverged: tests/analysis/test_what_counts.py."""
