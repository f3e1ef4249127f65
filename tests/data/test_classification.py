import math
import pickle
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import accuracy_score, log_loss, top_k_accuracy_score
from torchmetrics.functional.classification import multiclass_accuracy

from tests.references import datasets as reference
from tune_qat import data
from tune_qat.data.classification import Classification
from tune_qat.data.spec import CLASSIFICATION, LabelledImages, ModelInput
from tune_qat.data.table import DATASETS
from tune_qat.data.task import FEW_IMAGES, Dataset

torch.set_num_threads(1)


def dataset(*, classes: int = 12, n: int = 2 * Classification.evaluation_batch + 17, **options: Any) -> Dataset:
    """Random images; the evaluated splits need more than one chunk."""
    rng = np.random.default_rng(0)

    def split(size: int, channels: int = 2) -> LabelledImages:
        images = rng.integers(0, 200, (size, channels, 8, 8)).astype(np.uint8)
        return LabelledImages(images=images, labels=rng.integers(0, classes, size))

    return Dataset(
        spec=DATASETS["digits"],
        options={"augment": "none", **options},
        splits={"train": split(300), "val": split(n), "test": split(n)},
        fingerprint="",
        split_fingerprint="",
        names=None,
        model_input=ModelInput(task=CLASSIFICATION, channels=2, height=8, width=8, classes=classes, scale=None),
    )


def linear(classes: int) -> reference.Predict:
    weight = torch.randn((2 * 8 * 8, classes), generator=torch.Generator().manual_seed(0))
    return lambda x: x.flatten(1) @ weight / 10


def outputs(task: Classification, data: Dataset, predict: reference.Predict) -> np.ndarray:
    mean, std = reference.channel_statistics(reference.labelled(data, "train").images)
    x = (reference.labelled(data, "val").images - mean[:, None, None]) / std[:, None, None]
    return predict(torch.tensor(x, dtype=torch.float32)).double().numpy()


def test_normalisation_is_that_of_the_training_split() -> None:
    data = dataset()
    expected = reference.channel_statistics(reference.labelled(data, "train").images)
    for found, values in zip(Classification(data, "cpu").normalisation, expected, strict=True):
        assert found == pytest.approx(values.tolist(), rel=1e-6)  # kept in float32


def test_evaluation_agrees_with_sklearn_and_torchmetrics() -> None:
    data = dataset()
    task, predict = Classification(data, "cpu"), linear(12)
    labels, scores = reference.labelled(data, "val").labels, outputs(task, data, predict)
    result = task.evaluate(predict, "val")
    assert result.metric == accuracy_score(labels, scores.argmax(1))
    assert result.correct == round(result.metric * result.n) and result.n == len(labels)
    assert result.top5 == top_k_accuracy_score(labels, scores, k=5, labels=np.arange(12))
    shares = np.exp(scores - scores.max(1, keepdims=True))
    expected = log_loss(labels, shares / shares.sum(1, keepdims=True), labels=np.arange(12))
    assert result.loss == pytest.approx(expected, rel=1e-5)  # float32 sums of a thousand terms
    micro = multiclass_accuracy(torch.tensor(scores), torch.tensor(labels), num_classes=12, average="micro")
    assert result.metric == pytest.approx(micro.item(), rel=1e-6)  # torchmetrics answers in float32


def test_equal_outputs_have_the_accuracy_of_class_0_everywhere() -> None:
    data = dataset()
    task = Classification(data, "cpu")
    labels = reference.labelled(data, "val").labels
    result = task.evaluate(lambda x: torch.zeros(len(x), 12), "val")
    assert (result.metric, result.correct) == (np.mean(labels == 0), np.sum(labels == 0))
    assert result.top5 == np.mean(labels < 5)
    assert task.batch_metric(torch.zeros(12, 12), torch.arange(12)).item() == pytest.approx(1 / 12)


def test_coarse_outputs_are_judged_as_by_a_plain_loop() -> None:
    data = dataset(n=300)
    mean, std = reference.channel_statistics(reference.labelled(data, "train").images)

    def coarse(x: torch.Tensor) -> torch.Tensor:
        # Three levels, of which the largest is mostly there several times; no pixel is the mean, so none is near 0.
        return x.flatten(1)[:, :12].sign() + x.flatten(1)[:, 12:24].sign()

    _, correct, in_top5 = reference.evaluate_labelled(reference.labelled(data, "val"), coarse, mean, std)
    result = Classification(data, "cpu").evaluate(coarse, "val")
    assert (result.correct, result.top5) == (correct, in_top5 / 300)
    inputs, labels = reference.labelled(data, "val").images, reference.labelled(data, "val").labels
    normalised = torch.tensor((inputs - mean[:, None, None]) / std[:, None, None], dtype=torch.float32)
    trained = Classification(data, "cpu").batch_metric(coarse(normalised), torch.from_numpy(labels))
    assert trained.item() == pytest.approx(correct / 300)


def test_the_constant_prediction_of_equally_frequent_classes_is_the_first() -> None:
    data = dataset()
    reference.labelled(data, "train").labels[:] = np.arange(300) % 12
    labels = reference.labelled(data, "val").labels
    assert Classification(data, "cpu").trivial("val").metric == np.mean(labels == 0)


@pytest.mark.parametrize(("classes", "there"), [(3, False), (9, False), (10, True)])
def test_top5_only_from_ten_classes_on(classes: int, there: bool) -> None:
    task = Classification(dataset(classes=classes, n=30), "cpu")
    assert (task.evaluate(linear(classes), "val").top5 is not None) == there


def test_batches_are_normalised_by_the_training_split() -> None:
    data = dataset()
    task = Classification(data, "cpu")
    index = torch.tensor([4, 0, 299])
    x, y = task.batch(0, 0, index)
    mean, std = reference.channel_statistics(reference.labelled(data, "train").images)
    expected = (reference.labelled(data, "train").images[index] - mean[:, None, None]) / std[:, None, None]
    assert np.allclose(x, expected, atol=1e-5)  # float32 values of a few units
    assert y.tolist() == reference.labelled(data, "train").labels[index].tolist()


def test_channel_without_contrast_stays_finite() -> None:
    data = dataset()
    reference.labelled(data, "train").images[:, 1] = 7
    x, _ = Classification(data, "cpu").batch(0, 0, torch.arange(3))
    assert (x[:, 1] == 0).all() and x.isfinite().all()


def test_training_arrays_are_shared_not_copied() -> None:
    data = dataset()
    task = Classification(data, "cpu")
    images, labels, *_ = task._split("train")
    assert images.data_ptr() == reference.labelled(data, "train").images.ctypes.data
    assert labels.data_ptr() == reference.labelled(data, "train").labels.ctypes.data


def test_loss_and_batch_metric() -> None:
    task = Classification(dataset(n=30), "cpu")
    output = torch.tensor([[2.0, 0.0, 1.0], [0.0, 1.0, 3.0]])
    target = torch.tensor([0, 1])
    expected = np.mean([math.log(math.e**2 + 1 + math.e) - 2, math.log(1 + math.e + math.e**3) - 1])
    assert task.loss(output, target).item() == pytest.approx(expected, rel=1e-6)  # float32
    assert task.batch_metric(output, target).item() == 0.5


def test_class_without_training_samples_keeps_the_trivial_loss_finite() -> None:
    data = dataset()
    reference.labelled(data, "train").labels[:] = 3
    result = Classification(data, "cpu").trivial("val")
    labels = reference.labelled(data, "val").labels
    assert result.metric == np.mean(labels == 3)
    loss = -np.mean(np.log(np.where(labels == 3, 301, 1) / 312))
    assert result.loss == pytest.approx(loss, rel=1e-5)  # float32


def test_one_undefined_output_makes_the_evaluation_undefined() -> None:
    task = Classification(dataset(), "cpu")

    def predict(x: torch.Tensor) -> torch.Tensor:
        output = linear(12)(x)
        output[0, 0] = math.nan
        return output

    result = task.evaluate(predict, "val")
    assert math.isnan(result.loss) and math.isnan(result.metric) and math.isnan(result.top5 or 0)
    assert result.images is None


@pytest.mark.parametrize("n", [1, FEW_IMAGES, FEW_IMAGES + 1])
def test_answers_to_few_images_are_kept_in_the_order_of_the_split(n: int) -> None:
    data = dataset(n=n)
    task, predict = Classification(data, "cpu"), linear(12)
    right = outputs(task, data, predict).argmax(1) == reference.labelled(data, "val").labels
    expected = tuple(right.astype(int).tolist()) if n <= FEW_IMAGES else None
    assert task.evaluate(predict, "val").images == expected


def test_half_precision_outputs_are_judged_in_single_precision() -> None:
    task = Classification(dataset(), "cpu")
    result = task.evaluate(lambda x: linear(12)(x).bfloat16(), "val")
    exact = task.evaluate(lambda x: linear(12)(x).bfloat16().float(), "val")
    assert result == exact


def test_shared_data_gives_batches_of_the_same_layout() -> None:
    # An axis of length 1 may have any stride; torch reads a memory layout, and a kernel, from it.
    own = data.load("digits")
    shared = pickle.loads(pickle.dumps(own))
    index = torch.arange(8)
    first, again = (dataset.task().batch(0, 1, index)[0] for dataset in (own, shared))
    assert first.stride() == again.stride() == (784, 784, 28, 1)
