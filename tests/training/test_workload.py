"""A model on a dataset: what fits, what does not, and what the record says of it."""

import math
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from tests.data.own_data import made
from tests.helpers.trials import DIGITS, PHOTOS, tiny_trial, work_of
from tune_qat.config import TuneQatError, UsageError, trial_key
from tune_qat.training import workload
from tune_qat.training.fitting import check_output


@pytest.mark.parametrize(
    ("model", "dataset", "options", "text"),
    [
        ("espcn", "digits", {}, "'espcn' is made for super-resolution, .*'digits' is for classification.*lenet5"),
        ("lenet5", "photos", {}, "'lenet5' is made for classification, .*'photos' is for super-resolution.*espcn"),
        ("lenet", "digits", {}, "Unknown model 'lenet'. Did you mean 'lenet5'"),
        ("lenet5", "digit", {}, "Unknown dataset 'digit'. Did you mean 'digits'"),
        ("lenet5", "digits", {"train_limits": 3}, "no option 'train_limits'"),
        ("lenet5", "digits", {"train_limit": "many"}, "'train_limit'.*whole number.*'many'"),
    ],
)
def test_what_does_not_fit_is_said(model: str, dataset: str, options: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        workload.load(model, dataset, options=options)


@pytest.mark.parametrize(
    ("shape", "network", "text"),
    [
        (
            (5,),
            nn.Linear(6, 2),
            r"a sample of shape \(1, 5\), float32, is not what the model takes \(RuntimeError: .*mat1",
        ),
        (
            (5,),
            nn.Linear(5, 3),
            r"for inputs of shape \(1, 5\) the output is \(1, 3\), but task classification needs \(1, 2\)",
        ),
        ((2, 5), nn.Linear(5, 2), r"the output is \(1, 2, 2\)"),
        ((5,), nn.LSTM(5, 2), "the output is tuple, but"),
    ],
)
def test_a_model_that_does_not_fit_the_samples_is_said(shape: tuple[int, ...], network: nn.Module, text: str) -> None:
    inputs = np.random.default_rng(0).normal(size=(40, *shape))
    dataset = made({"train": (inputs, np.arange(40) % 2)})
    with pytest.raises(UsageError, match=f"Model 'mine:build' on dataset 'own_data:load': .*{text}"):
        check_output("mine:build", network, dataset)
    fitting = nn.Sequential(nn.Flatten(), nn.Linear(inputs[0].size, 2))
    check_output("mine:build", fitting, dataset)


def test_a_model_of_another_task_is_said_before_data_is_looked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TUNE_QAT_DATA", raising=False)
    with pytest.raises(UsageError, match="super-resolution"):
        workload.load("espcn", "mnist", options={})
    with pytest.raises(TuneQatError, match="was not found"):
        workload.load("lenet5", "mnist", options={})


@pytest.mark.parametrize("what", [DIGITS, PHOTOS], ids=["digits", "photos"])
def test_reference_points_are_finite_and_ordered(what: dict[str, Any]) -> None:
    work = work_of(tiny_trial(**what))
    points = work.reference_points()
    assert set(points["baselines"]) == {"val", "test"}
    trivial = {"val": points["trivial_score"], "test": points["trivial_test_score"]}
    for split, baselines in points["baselines"].items():
        assert trivial[split] == work.task().trivial(split).metric and math.isfinite(trivial[split])
        assert trivial[split] != work.task().trivial("train").metric
        if what is PHOTOS:
            # Interpolation follows the image, a constant does not; and nearest neighbour is the coarser of the two.
            assert baselines["bicubic"] > baselines["nearest"] > trivial[split] > 0
        else:
            assert baselines == {} and 0 < trivial[split] < 0.2  # ten classes of about the same size


def test_a_baseline_without_a_number_is_left_out() -> None:
    assert workload.finite({"a": 1.0, "b": math.nan, "c": math.inf}) == {"a": 1.0}


def test_the_key_covers_data_split_and_start() -> None:
    config = tiny_trial()
    work = work_of(config)
    expected = trial_key(
        config,
        "search",
        data_fingerprint=work.dataset.fingerprint,
        split_fingerprint=work.dataset.split_fingerprint,
        init_checkpoint_sha256="abc",
    )
    assert work.key(config, "search", "abc") == expected
    fewer = work_of(tiny_trial(dataset_options={"train_limit": 95}))
    assert fewer.key(config, "search", "abc") != expected
    assert work.key(config, "search", None) != expected


def test_the_key_does_not_depend_on_what_is_searched() -> None:
    from tune_qat.study import Study

    wider = {"space.learning_rate.high": 5.0, "stages.search": 77, "asha.enabled": False}
    values = {"learning_rate": 1e-3, "batch_size": 32}
    keys = []
    for overrides in ({}, wider):
        study = Study.load("quickstart", overrides)
        arm = study.arms()[0]
        keys.append(work_of(tiny_trial()).key(study.config(arm, arm.optimizers[0], values, seed=3), "search", None))
    assert keys[0] == keys[1]


def test_name_and_size_of_batch() -> None:
    assert work_of(tiny_trial()).name == "lenet5-digits"
    error = workload.batch_too_large(128, 96, "digits")
    assert isinstance(error, UsageError)
    assert "128" in str(error) and "96" in str(error) and "--batch-size" in str(error)


def test_a_network_of_larger_images_fits_all_the_same() -> None:
    work = workload.load("resnet20_xnor", "digits", options={})
    assert work.build_model(0)(work.task().batch(0, 1, torch.arange(2))[0]).shape == (2, 10)
    assert type(workload.load("mobilenet_v3_small", "digits", options={}).build_model(0)).__name__ == "Enlarged"
