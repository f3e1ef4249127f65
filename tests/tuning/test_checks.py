"""Checks of a study against its model before it runs: batches of one."""

from typing import Any

import pytest
from torch import nn

from tests.helpers.studies import tiny_study
from tune_qat import data, models
from tune_qat.config import UsageError
from tune_qat.study import Study
from tune_qat.training import workload
from tune_qat.tuning.checks import check_batches_of_one, check_schemes

NORMED = {"model": "lenet5_bn", "dataset": "digits", "options": {"train_limit": 128}}


def study_of(low: int, *, start: int = 8, **changes: Any) -> Study:
    space = {"optimizers": ["adam"], "batch_size": {"low": low, "high": 4}}
    return tiny_study(**{"workload": NORMED, "space": space, "pretrain": {"batch_size": start, "epochs": 1}, **changes})


def check(study: Study) -> None:
    """Both ways: as `plan` knows the images, and as they are."""
    wanted = study.workload
    check_batches_of_one(study)
    check_batches_of_one(study, workload.load(wanted.model, wanted.dataset, options=wanted.options))


@pytest.mark.parametrize(
    ("study", "key"),
    [(study_of(1), "space.batch_size.low"), (study_of(2, start=1), "pretrain.batch_size")],
)
def test_a_batch_of_one_is_refused_with_the_layer_that_cannot_take_it(study: Study, key: str) -> None:
    wanted = study.workload
    for work in (None, workload.load(wanted.model, wanted.dataset, options=wanted.options)):
        with pytest.raises(UsageError, match=f"^{key} = 1: Layer 'norm3' is trained on one value .* Use 2 or more.$"):
            check_batches_of_one(study, work)


def test_a_batch_of_one_is_right_where_each_channel_has_more_values() -> None:
    check(study_of(2))
    check(study_of(1, workload={**NORMED, "model": "lenet5"}))
    check(study_of(1, workload={**NORMED, "model": "resnet20_cifar"}))
    check(study_of(2, start=1, training={"epochs": 3, "init": "scratch"}))  # a start that is not trained
    photos = {"model": "espcn", "dataset": "photos", "options": {}}
    check_batches_of_one(study_of(1, workload=photos, judgement={"metric": "psnr", "margin": 0.1}))


def test_the_sizes_that_the_table_knows_reach_the_model() -> None:
    """ResNet-18 on 32 x 32 pixels ends in 1 x 1; on 64 x 64 it has 2 x 2 values."""
    for side, fails in ((32, True), (64, False)):
        workload_of = {"model": "resnet18", "dataset": "imagenet", "options": {"image_size": side}}
        study = study_of(1, workload=workload_of)
        if fails:
            with pytest.raises(UsageError, match="Layer 'layer4"):
                check_batches_of_one(study)
        else:
            check_batches_of_one(study)


def test_a_model_that_cannot_evaluate_a_single_image_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last batch of a split may have one image."""

    def build(model_input: Any) -> nn.Module:
        norm = nn.BatchNorm1d(10, track_running_stats=False)
        return nn.Sequential(nn.Flatten(), nn.Linear(28 * 28, 10), norm)

    study = study_of(2, workload={**NORMED, "model": "lenet5"})
    work = workload.load("lenet5", "digits", options=study.workload.options)
    monkeypatch.setattr(models, "build", lambda name, model_input, *_: build(model_input))
    with pytest.raises(UsageError, match="Layer '2' is evaluated, which it keeps no statistics for, on one value"):
        check_schemes(study, work)


def test_of_a_dataset_whose_images_the_table_does_not_know_nothing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(data, "known_input", lambda name, options: None)
    check_batches_of_one(study_of(1))
