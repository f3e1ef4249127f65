"""Both sides of the overhead: the peer trains what a study trains, in the same space."""

from pathlib import Path

import pytest
from optuna.trial import FixedTrial

from benchmarks import overhead_sides
from benchmarks.overhead import STUDY, growth
from benchmarks.overhead_sides import LEARNING_RATE, LOG2_BATCH_SIZE, BareTrial
from tune_qat.config import EAGER
from tune_qat.study import Study
from tune_qat.training import workload
from tune_qat.training.alone import train
from tune_qat.tuning.encoding import space_function


@pytest.fixture
def study(tmp_path: Path) -> Study:
    path = tmp_path / "overhead.toml"
    batch = [2**power for power in LOG2_BATCH_SIZE]
    path.write_text(STUDY.format(trials=10, batch=batch, rate=LEARNING_RATE))
    return Study.load(str(path))


def test_the_peer_searches_the_same_space(study: Study) -> None:
    point = FixedTrial({"learning_rate": 1e-3, "log2_batch_size": 5})
    same = FixedTrial(point.params)
    overhead_sides.space(point)
    space_function({"adam": study.dimensions("adam")})(same)
    assert point.distributions == same.distributions


def test_the_peer_trains_what_a_study_trains(study: Study) -> None:
    section, arm = study.workload, study.arms()[0]
    work = workload.load(section.model, section.dataset, options=section.options)
    peer = BareTrial.__new__(BareTrial)  # Ray would make it in a process of its own
    peer.setup({"learning_rate": 3e-3, "log2_batch_size": 5}, study, work)
    for number, rate in enumerate((3e-3, 1e-3)):
        if number:
            assert peer.reset_config({"learning_rate": rate, "log2_batch_size": 5})
        config = study.config(arm, "adam", {"learning_rate": rate, "batch_size": 32}, seed=study.seed)
        expected = [(one.epoch, one.val_metric) for one in train(config, device="cpu", backend=EAGER)]
        reports = [peer.step() for _ in range(3)]
        assert [(one["epoch"], one["metric"]) for one in reports] == expected
        assert [one["done"] for one in reports] == [False, False, True]


def test_growth_is_for_a_thousand_trials() -> None:
    assert growth({"100": 500.0, "1000": 509.0}) == pytest.approx(10.0)
