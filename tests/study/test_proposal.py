"""Study files that are written for a user."""

from dataclasses import replace
from pathlib import Path

import pytest

from tune_qat.config import UsageError
from tune_qat.study import Study
from tune_qat.study.cost import stage_epochs
from tune_qat.study.proposal import Wanted, header, proposed, smallest

WANTED = Wanted(name="mine", model="lenet5", dataset="digits", options={"train_limit": 512}, bits=[(4, 4), (2, 2)])


def test_the_largest_budget_that_fits_is_taken_and_read_back(tmp_path: Path) -> None:
    epochs = 0
    for hours in (1, 2, 4, 8, 16, 64):
        text, study, takes = proposed(WANTED, epoch_s=2.0, hours=hours, at_once=2)
        costs = sum(all_of_stage for _, _, all_of_stage in stage_epochs(study))
        assert takes == costs * 2.0 / 2 / 3600 <= hours and costs >= epochs
        epochs = costs
        path = tmp_path / "mine.toml"
        path.write_text(header(study, "tune-qat run mine.toml", takes, 2, "2 s an epoch") + text, encoding="utf-8")
        assert Study.load(str(path)) == study
    assert study.repeats == 6 and study.selection.finalists == 3


def test_little_time_is_one_search_and_too_little_is_said() -> None:
    _, study, _ = proposed(WANTED, epoch_s=2.0, hours=1, at_once=2)
    assert study.repeats == 1 and study.stages.search > 0
    with pytest.raises(UsageError, match="takes about .* min with 2 at once, at 2 s an epoch, but there are 0.6 min"):
        proposed(WANTED, epoch_s=2.0, hours=0.01, at_once=2)


@pytest.mark.parametrize(("size", "low", "high"), [(10, 1, 1), (100, 1, 4), (1_000, 4, 32), (60_000, 32, 256)])
def test_an_epoch_has_steps_at_every_batch_size(size: int, low: int, high: int) -> None:
    sizes = smallest(replace(WANTED, train_size=size)).space.batch_size
    assert (sizes.low, sizes.high) == (low, high)


def test_the_control_is_among_the_bits_once() -> None:
    assert smallest(WANTED).quantization.bits == [[32, 32], [4, 4], [2, 2]]
    assert smallest(replace(WANTED, bits=[(32, 32)])).quantization.bits == [[32, 32]]


def test_from_scratch_no_start_is_drawn() -> None:
    _, study, _ = proposed(replace(WANTED, scratch=True), epoch_s=1.0, hours=100, at_once=1)
    assert study.pretrain is None and study.repeat is not None and "start" not in study.repeat.varies


def test_choices_that_do_not_fit_are_named_as_in_a_file() -> None:
    with pytest.raises(UsageError, match=r"workload.model: Model 'espcn' is made for super-resolution"):
        smallest(replace(WANTED, model="espcn"))
