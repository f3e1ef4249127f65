"""Rows that the driver writes, read back."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.helpers.studies import tiny_study
from tune_qat.results.reader import read_rows
from tune_qat.training import workload
from tune_qat.tuning.asha import Decision
from tune_qat.tuning.plan import DataDraws, Planner
from tune_qat.tuning.record import Record

SECTION = {"optimizer": "lion", "learning_rate": 1e-5}


@pytest.mark.parametrize("section", [None, SECTION], ids=["one optimizer", "two"])
def test_a_row_says_what_moves_the_quantizers_and_by_which_schedule(tmp_path: Path, section: dict[str, Any]) -> None:
    space = {"optimizers": ["schedule_free_sgd", "adam"], "batch_size": {"low": 16, "high": 64}}
    study = tiny_study(space=space, training={"epochs": 3, "quantizer_optimizer": section})
    work = workload.load("lenet5", "digits", options=study.workload.options)
    planner = Planner(study=study, work=work)
    record = Record(results=tmp_path, study=study, works=DataDraws.of_study(study, lambda options: work), sign=1)
    found = {}
    for arm in study.arms():
        config = study.default_config(arm, arm.optimizers[0])
        plan = planner.of_config(config, arm.arm_id, "default", {"batch_size": 32}, source="default")
        record.started(plan)
        (row,) = [row for row in read_rows(tmp_path, "trials", "tiny") if row["trial_key"] == plan.trial_key]
        found[arm.arm_id] = (row["quantizer_optimizer"], row["schedule"])
        again = planner.recorded(arm, row)
        assert again is not None and again.config == config
        assert json.loads(row["params_json"])["schedule"] == row["schedule"]
    name = section and "lion"
    assert found == {
        "schedule_free_sgd-w32a32": (None, "constant"),
        "adam-w32a32": (None, "cosine"),
        "schedule_free_sgd-w4a4": (name, "constant"),
        "adam-w4a4": (name, "cosine"),
    }


def test_decisions_of_an_earlier_run_stay(tmp_path: Path) -> None:
    study = tiny_study()
    work = workload.load("lenet5", "digits", options=study.workload.options)
    for rung in (1, 3, 9):
        # A record of its own each time, as after the driver was killed.
        record = Record(results=tmp_path, study=study, works=DataDraws.of_study(study, lambda options: work), sign=1)
        record.decided(
            Decision(
                trial_key="key",
                arm_id="a",
                rung=rung,
                epoch=rung,
                value=0.5,
                cutoff=None,
                n_in_rung=0,
                action="continue",
            )
        )
    assert [row["rung"] for row in read_rows(tmp_path, "decisions", "tiny")] == [1, 3, 9]
