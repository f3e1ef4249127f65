"""`tune-qat plan`: what it tells of a study before anything runs."""

import os
from pathlib import Path
from typing import Any

import pytest

from tests.cli.typed import assert_refused
from tests.helpers.records import SmallStudy


class TestPlan:
    def test_runs_nothing(self, tune_qat: Any) -> None:
        done = tune_qat("plan", "quickstart")
        assert (done.code, done.err) == (0, "")
        assert "study quickstart: espcn on photos" in done.out
        assert done.out.endswith("\ndata: photos comes with a library\n")
        assert os.listdir() == []

    def test_looks_whether_the_data_is_there(self, tune_qat: Any, tmp_path: Path) -> None:
        missing = tune_qat("plan", "lenet5_mnist", "--data-dir", str(tmp_path))
        assert missing.code == 0
        assert "\ndata: MISSING. The data of dataset 'mnist' was not found" in missing.out
        assert f"{tmp_path}/MNIST/raw" in missing.out and "How to get it" in missing.out
        (tmp_path / "MNIST" / "raw").mkdir(parents=True)
        there = tune_qat("plan", "lenet5_mnist", "--data-dir", str(tmp_path)).out
        assert there.endswith(f"\ndata: mnist is in {tmp_path}\n")

    def test_takes_overrides(self, tune_qat: Any, small: str) -> None:
        out = tune_qat("plan", small, "--trials", "2", "--set", 'space.optimizers=["lion"]', "--set", "seed=3").out
        assert "2 arms: lion-w32a32, lion-w4a4" in out
        assert "search        4 trials" in out

    def test_estimates_minutes_from_the_record(self, tune_qat: Any, small: str, tmp_path: Path) -> None:
        study = SmallStudy(tmp_path, "one")
        study.trial(study.arm("adam", workload="lenet5-digits"), "default")
        assert "0.5 s an epoch" in tune_qat("plan", small, "--results", str(tmp_path)).out

    @pytest.mark.parametrize(
        ("arguments", "parts"),
        [
            (("quickstrat",), ["No study 'quickstrat'", "Did you mean 'quickstart'?"]),
            (("x" * 300,), ["No study"]),
            (("fashion",), ["Did you mean 'lsq_optimizers_fashion_2bit_1' or", "`tune-qat list studies`"]),
            (("nosuch",), ["Begin with 'quickstart'."]),
            (("quickstart", "--set", "training.epoch=3"), ["training.epoch (from --set)", "Did you mean 'epochs'?"]),
            (("quickstart", "--set", "training"), ["--set takes key=value, such as space.learning_rate.low=1e-6"]),
            (("quickstart", "--set", "name=../x"), ["name (from --set): must be a plain file name"]),
            (("quickstart", "--set", "stages.default=false", "--trials", "0"), ["nothing to train"]),
        ],
    )
    def test_a_mistake_ends_with_2(self, tune_qat: Any, arguments: tuple[str, ...], parts: list[str]) -> None:
        assert_refused(tune_qat("plan", *arguments), 2, *parts)

    def test_a_training_batch_of_one_that_batch_norm_cannot_take_is_a_mistake(self, tune_qat: Any, small: str) -> None:
        normed = ("--set", 'workload.model="lenet5_bn"', "--set", "space.batch_size.low=1")
        assert_refused(tune_qat("plan", small, *normed), 2, "space.batch_size.low = 1: Layer 'norm3'", "Use 2 or more.")
        assert tune_qat("plan", small, *normed[2:]).code == 0


class TestSubsets:
    """Repeats of 400 of the 1,079 digits that are neither for validation nor for test: two of them fit."""

    settings = tuple(
        word
        for setting in ("repeat.varies=['subset','order']", "repeats=4", "workload.options={train_limit=400}")
        for word in ("--set", setting)
    )

    def test_that_overlap_and_must_not_are_refused(self, tune_qat: Any, small: str) -> None:
        done = tune_qat("plan", small, *self.settings, "--set", "repeat.disjoint=true")
        assert_refused(
            done, 2, "too little for 4 disjoint subsets of 400 samples", "Lower workload.options.train_limit"
        )

    def test_of_data_that_is_not_here_are_said_to_be_unknown(self, tune_qat: Any, small: str) -> None:
        done = tune_qat("plan", small, *self.settings, "--set", 'workload.dataset="mnist"')
        assert done.code == 0 and "repeats 1 to 4" in done.out
        assert done.err.startswith(
            "Whether the subsets of the repeats fit is not known here: The data of dataset 'mnist'"
        )
