from numbers import Number

from tests.helpers.studies import tiny_study
from tune_qat.tuning.objective import OBJECTIVE
from tune_qat.tuning.plan import PlannedTrial
from tune_qat.tuning.ray_report import pack, unpack

REPORT = {"epoch": 2, "status": "running", "val_metric": 0.5, OBJECTIVE: 0.5, "threads": 1, "peak_memory_mb": 812.5}


def test_ray_tune_is_told_few_numbers_and_the_rest_comes_back() -> None:
    told = pack(REPORT)
    assert {name for name, value in told.items() if isinstance(value, Number)} == {
        "epoch", "val_metric", OBJECTIVE, "done"
    }  # fmt: skip
    assert REPORT.items() <= unpack(told).items()


def test_a_trial_that_has_ended_is_done() -> None:
    assert not pack(REPORT)["done"]
    assert all(pack({**REPORT, "status": status})["done"] for status in ("completed", "diverged", "oom", "error"))


def test_what_says_nothing_of_an_epoch_and_what_was_never_packed() -> None:
    failed = {"status": "error", "error_text": "line one\nline two", OBJECTIVE: 0.0}
    assert "epoch" not in pack(failed) and failed.items() <= unpack(pack(failed)).items()
    assert unpack({}) == {}


def test_a_plan_travels_as_one_text() -> None:
    study = tiny_study()
    arm = study.arms()[0]
    config = study.default_config(arm, arm.optimizers[0])
    plan = PlannedTrial(
        trial_key="k", arm_id=arm.arm_id, stage="default", source="default", number=3, config=config,
        init_checkpoint_sha256=None, values={"learning_rate": 1e-3 / 3, "batch_size": 32},
    )  # fmt: skip
    assert PlannedTrial.from_json(plan.to_json()) == plan
