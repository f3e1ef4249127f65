"""Trials on data, tasks and networks of a user's own, from arrays to the exported file."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from pydantic import ValidationError

from tests.helpers.own_code import forgetting_code, write_code
from tests.helpers.studies import tiny_study
from tests.helpers.trials import assert_same_curve, loaded, resumed_every_epoch, tiny_trial
from tests.helpers.without_ray import run_here
from tune_qat.config import TrialConfig, UsageError
from tune_qat.config.own_parts import allow
from tune_qat.export.onnx_file import save_onnx
from tune_qat.export.state_file import integer_state
from tune_qat.export.trained import built
from tune_qat.results.reader import read_rows
from tune_qat.training.alone import train
from tune_qat.training.loop import Training
from tune_qat.training.workload import Workload
from tune_qat.tuning.checks import check_task
from tune_qat.tuning.plan import DataDraws

CODE = '''
import numpy as np
import torch
from torch import nn


def signals(outputs=2):
    """Sums over channels of a signal, to be told from the signal."""
    random = np.random.default_rng(0)
    inputs = random.standard_normal((240, 3, 8))
    targets = inputs.mean(2)[:, :outputs] + 0.01 * random.standard_normal((240, outputs))
    return {"train": (inputs[:200], targets[:200]), "test": (inputs[200:], targets[200:])}


def pixels():
    """Bright pixels are of class 1."""
    images = np.random.default_rng(0).integers(0, 256, (120, 1, 6, 6)).astype(np.uint8)
    labels = (images[:, 0] > 127).astype(np.uint8)
    return {"train": (images[:100], labels[:100]), "val": (images[100:], labels[100:])}


def tokens():
    """Sentences of class 1 have the word 7."""
    random = np.random.default_rng(0)
    ids, labels = random.integers(8, 20, (240, 5)), np.arange(240) % 2
    ids[labels == 1, random.integers(0, 5, 120)] = 7
    return {"train": (ids[:200], labels[:200]), "test": (ids[200:], labels[200:])}


def dense(model_input):
    channels, length = model_input.shape
    layers = nn.Linear(channels * length, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU()
    return nn.Sequential(nn.Flatten(), *layers, nn.Linear(32, model_input.classes))


def convolutions(model_input):
    layers = nn.Conv2d(model_input.channels, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 8, 1), nn.ReLU()
    return nn.Sequential(*layers, nn.Conv2d(8, model_input.classes, 1))


class Words(nn.Module):
    def __init__(self, model_input):
        super().__init__()
        assert model_input.dtype == "int64"
        self.words = nn.Embedding(20, 16)
        self.hidden, self.head = nn.Linear(16, 16), nn.Linear(16, model_input.classes)

    def forward(self, ids):
        return self.head(torch.relu(self.hidden(self.words(ids))).amax(1))


def words(model_input):
    return Words(model_input)
'''
CASES: dict[str, dict[str, Any]] = {
    "regression": {"model": "mine:dense", "dataset": "mine:signals", "task": "regression"},
    "segmentation": {"model": "mine:convolutions", "dataset": "mine:pixels", "task": "segmentation",
                     "dataset_options": {"normalise": True, "augment": "crop_flip"}},
    "tokens": {"model": "mine:words", "dataset": "mine:tokens", "epochs": 8, "learning_rate": 0.03},
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def code(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    forgotten = forgetting_code()
    next(forgotten)
    allow([write_code(tmp_path_factory.mktemp("code"), {"mine.py": CODE})])
    yield
    next(forgotten, None)
    loaded.cache_clear()


def trial(case: str, **changes: Any) -> TrialConfig:
    return tiny_trial(**{"learning_rate": 0.01, "epochs": 4, "dataset_options": {}, **CASES[case], **changes})


def work_of(config: TrialConfig) -> Workload:
    return loaded(config.model, config.dataset, tuple(config.dataset_options.items()), task=config.task)


@pytest.mark.parametrize("case", CASES)
def test_a_quantized_trial_learns_resumes_and_is_built_again(case: str, tmp_path: Path) -> None:
    config = trial(case)
    work = work_of(config)
    training = Training(config, work)
    results = list(training.epochs())
    trivial = training.task.trivial("val")
    last = results[-1]
    assert last.val_metric is not None and last.val_metric > trivial.metric + 0.2
    assert last.train_metric is not None and last.val_top5 is None
    again, resumed = resumed_every_epoch(config, tmp_path, work=work)
    assert_same_curve(results, again)
    state = resumed.state_dict()
    found = built("key", config, torch.load(tmp_path / "last.pt", weights_only=True))
    assert found.model_input == work.dataset.model_input and found.normalisation == training.task.normalisation
    inputs, _ = training.task.batch(0, 1, torch.arange(3))
    training.model.eval()
    assert torch.equal(found.model(inputs), training.model(inputs))
    assert integer_state(found)["model_input"] == state["model_input"] == work.dataset.model_input.to_dict()
    json.dumps(state["model_input"])


def test_the_task_is_in_the_key_and_in_the_board(tmp_path: Path) -> None:
    config = trial("regression")
    keys = {work_of(config).key(one, "search", None) for one in (config, replace(config, task="mine:Other"))}
    assert len(keys) == 2 and TrialConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    assert work_of(config).dataset.spec.metric == "r2"


@pytest.mark.slow
def test_token_ids_are_exported_to_onnx(tmp_path: Path) -> None:
    config = trial("tokens", scheme=tiny_trial().scheme)
    training = Training(config, work_of(config))
    list(training.epochs())
    model = built("key", config, training.state_dict())
    save_onnx(model, tmp_path / "model.onnx")
    onnx.checker.check_model(onnx.load(tmp_path / "model.onnx"), full_check=True)
    inputs, _ = training.task.batch(0, 1, torch.arange(7))
    session = onnxruntime.InferenceSession(str(tmp_path / "model.onnx"), providers=["CPUExecutionProvider"])
    (found,) = session.run(None, {"images": inputs.numpy()})
    expected = model.model(inputs).detach().numpy()
    # A code may be another where a value lies in the middle of two: a step of a 4-bit grid.
    assert (np.abs(found - expected) < 1e-4).all(1).mean() > 0.7


def study_of(case: str, **changes: Any) -> Any:
    what = CASES[case]
    values: dict[str, Any] = {
        "name": case,
        "workload": {"model": what["model"], "dataset": what["dataset"], "task": what.get("task", "")},
        "quantization": {"bits": [[4, 4]]},
        "training": {"epochs": 2, "init": "scratch"},
        "space": {"optimizers": ["adam"], "batch_size": {"low": 16, "high": 16}},
        "stages": {"default": True, "search": 0, "retrain": 0},
        "judgement": {"metric": "mean_iou", "margin": 0.01},
    }
    return tiny_study(**{**values, **changes})


def test_a_study_without_test_data_is_for_no_retrain_alone(tmp_path: Path) -> None:
    study = study_of("segmentation")
    trained, _ = run_here(study, tmp_path)
    (arm,), (row,) = read_rows(tmp_path, "arms"), read_rows(tmp_path, "trials")
    assert len(trained) == 1 and row["status"] == "completed" and row["val_metric"] > arm["trivial_score"]
    assert (arm["metric"], arm["unit"], arm["task"], arm["n_test"]) == ("mean_iou", "fraction", "segmentation", None)
    assert arm["trivial_test_score"] is None and json.loads(arm["baselines_json"]) == {"val": {}}
    works = DataDraws.of_study(
        study, lambda options: loaded("mine:convolutions", "mine:pixels", (), task="segmentation")
    )
    check_task(study, works.first)
    with pytest.raises(UsageError, match="has no test split, which stages.retrain = 2 needs"):
        check_task(study_of("segmentation", stages={"search": 1, "retrain": 2}), works.first)
    with pytest.raises(UsageError, match="no test split to evaluate"):
        next(train(trial("segmentation"), test=True))


def test_a_metric_of_another_task_is_refused_with_the_tasks_own() -> None:
    with pytest.raises(
        ValidationError, match="judgement.metric.*must be 'mean_iou', the metric of task 'segmentation'"
    ):
        study_of("segmentation", judgement={"metric": "accuracy", "margin": 0.01})
    with pytest.raises(
        ValidationError, match="workload.task.*'digits' is for classification, but task is 'regression'"
    ):
        study_of("segmentation", workload={"model": "lenet5", "dataset": "digits", "task": "regression"})
    with pytest.raises(ValidationError, match="workload.task.*Unknown task 'regresion'. Did you mean 'regression'"):
        study_of("segmentation", workload={"model": "mine:dense", "dataset": "mine:signals", "task": "regresion"})
