"""Regression, segmentation and tasks of a user's own, against independent implementations."""

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix, r2_score
from torch.nn import functional

from tests.data.own_data import made
from tune_qat import data
from tune_qat.config import UsageError
from tune_qat.data.array_task import ArrayTask
from tune_qat.data.regression import Regression
from tune_qat.data.segmentation import NO_CLASS, Segmentation
from tune_qat.data.task import Dataset, Task, wrong_attributes
from tune_qat.data.task_check import check_task
from tune_qat.data.tasks import TASKS

if TYPE_CHECKING:
    from torchmetrics import Metric


def numbers(n: int = 120, outputs: int = 3, offset: float = 0.0, seed: int = 0) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    inputs = random.standard_normal((n, 5))
    return inputs, inputs @ random.standard_normal((5, outputs)) + random.standard_normal((n, outputs)) + offset


def masks(n: int = 40, classes: int = 4, seed: int = 0) -> tuple[Any, Any]:
    random = np.random.default_rng(seed)
    labels = random.integers(0, classes, (n, 6, 5)).astype(np.uint8)
    images = (labels[:, None] * 40 + random.integers(0, 30, (n, 2, 6, 5))).astype(np.uint8)
    return images, np.where(random.random(labels.shape) < 0.1, NO_CLASS, labels).astype(np.uint8)


def regression(**more: Any) -> Dataset:
    return made({"train": numbers(**more), "val": numbers(50, **{**more, "seed": 1})}, task="regression")


def segmentation(**options: Any) -> Dataset:
    return made({"train": masks(), "val": masks(7, seed=1)}, task="segmentation", **options)


@pytest.mark.parametrize("name", sorted(TASKS))
def test_the_table_says_what_the_class_says(name: str) -> None:
    module, kind = TASKS[name].build.split(":")
    task = getattr(__import__(module, fromlist=[kind]), kind)
    assert task.metric == TASKS[name].metric and TASKS[name].summary and wrong_attributes(task) == []


@pytest.mark.slow
def test_torchmetrics_is_imported_where_it_is_needed_alone() -> None:
    code = (
        "import sys, tune_qat.data.regression, tune_qat.data.segmentation, tune_qat.data.task_check\n"
        "from tune_qat import data; data.load('digits').task().trivial('val')\n"
        "print('torchmetrics' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "False"


class TestRegression:
    @pytest.mark.parametrize("offset", [0.0, 1e4])
    def test_r2_is_scikit_learns_over_batches(self, offset: float, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(Regression, "evaluation_batch", 7)
        dataset = regression(offset=offset)
        task, target = dataset.task(), dataset.splits["val"].targets  # type: ignore[union-attr]
        predict = lambda x: x[:, :3] + offset  # noqa: E731
        predicted = dataset.splits["val"].inputs[:, :3] + np.float32(offset)  # type: ignore[union-attr]
        found = task.evaluate(predict, "val")
        # Numbers around 10^4 have 10^-3 left of their differences in float32
        close = 1e-5 if offset == 0 else 1e-3
        assert found.metric == pytest.approx(r2_score(target, predicted), rel=close)
        assert found.loss == pytest.approx(np.mean((target.astype(float) - predicted) ** 2), rel=close)
        assert (found.n, found.correct, found.top5, found.images) == (50, None, None, None)

    def test_the_constant_is_the_mean_of_train(self) -> None:
        dataset = regression()
        task, train = dataset.task(), dataset.splits["train"].targets.astype(float)  # type: ignore[union-attr]
        assert task.trivial("train").metric == pytest.approx(0, abs=1e-6)
        assert task.trivial_loss == pytest.approx(train.var(axis=0).mean(), rel=1e-5)  # float32
        assert -0.2 < task.trivial("val").metric <= 0

    def test_a_single_number_is_one_output(self) -> None:
        inputs, targets = numbers()
        dataset = made({"train": (inputs, targets[:, 0])}, task="regression")
        assert dataset.model_input.classes == 1
        task = dataset.task()
        x, y = task.batch(0, 1, torch.arange(8))
        assert y.shape == (8,) and task.loss(y[:, None], y) == 0
        assert task.batch_metric(y[:, None], y) == 1
        assert task.batch_metric(x[:, :1], y).item() == pytest.approx(r2_score(y, x[:, 0]), rel=1e-5)
        check_task(dataset)

    def test_classes_are_refused(self) -> None:
        inputs, _ = numbers()
        with pytest.raises(UsageError, match=r"targets of regression are floats of shape.*not int64 of shape \(120,\)"):
            made({"train": (inputs, np.arange(120))}, task="regression")


def mean_iou(answers: np.ndarray, labels: np.ndarray, classes: int) -> float:
    counted = labels != NO_CLASS
    table = confusion_matrix(labels[counted], answers[counted], labels=range(classes))
    union = table.sum(0) + table.sum(1) - table.diagonal()
    return float((table.diagonal()[union > 0] / union[union > 0]).mean())


class TestSegmentation:
    def test_mean_iou_is_that_of_one_confusion_matrix_over_batches(self, monkeypatch: pytest.MonkeyPatch) -> None:
        dataset = segmentation()
        split: Any = dataset.splits["val"]
        answers = np.clip(split.inputs[:, 0] // 35, 0, 3)
        predict = lambda x: 9.0 * functional.one_hot((x[:, 0] // 35).long().clamp(0, 3), 4).permute(0, 3, 1, 2)  # noqa: E731
        expected = mean_iou(answers, split.targets, 4)
        for size in (3, 32):
            monkeypatch.setattr(Segmentation, "evaluation_batch", size)
            assert dataset.task().evaluate(predict, "val").metric == pytest.approx(expected, rel=1e-6)  # float32
        parts = [mean_iou(answers[i], split.targets[i], 4) for i in range(7)]
        assert abs(np.mean(parts) - expected) > 1e-3, "the mean over images would be another number"
        assert 0.3 < expected < 1

    def test_a_class_that_is_nowhere_counts_nowhere(self) -> None:
        images, labels = masks()
        kept = np.where(masks(7, seed=1)[1] == 2, 0, masks(7, seed=1)[1])
        dataset = made({"train": (images, labels), "val": (masks(7, seed=1)[0], kept)}, task="segmentation")
        right = functional.one_hot(torch.from_numpy(np.where(kept == NO_CLASS, 0, kept)).long(), 4)
        assert dataset.task().evaluate(lambda x: 9.0 * right.permute(0, 3, 1, 2), "val").metric == 1

    def test_pixels_without_a_class_are_in_no_loss(self) -> None:
        task = segmentation().task()
        logits = torch.randn(2, 4, 6, 5, generator=torch.Generator().manual_seed(0))
        target = torch.arange(60).reshape(2, 6, 5) % 4
        some = target.clone()
        some[0, 2:] = NO_CLASS
        kept = some != NO_CLASS
        each = functional.cross_entropy(logits, target, reduction="none")
        assert task.loss(logits, some).item() == pytest.approx(each[kept].mean().item(), rel=1e-6)
        assert task.loss(logits, torch.full_like(target, NO_CLASS)) == 0

    def test_the_constant_is_the_most_frequent_class(self) -> None:
        dataset = segmentation()
        counts = np.bincount(dataset.splits["train"].targets.ravel(), minlength=256)[:4]  # type: ignore[union-attr]
        labels = dataset.splits["val"].targets  # type: ignore[union-attr]
        found = dataset.task().trivial("val")
        assert found.metric == pytest.approx(mean_iou(np.full(labels.shape, counts.argmax()), labels, 4), rel=1e-6)

    def test_labels_move_with_their_images(self) -> None:
        images, labels = masks()
        images[:, 0] = np.where(labels == NO_CLASS, 9, labels)
        task = made({"train": (images, labels)}, task="segmentation", augment="crop_flip").task()
        plain = made({"train": (images, labels)}, task="segmentation").task()
        x, y = task.batch(3, 4, torch.arange(30))
        assert torch.equal(x[:, 0].long(), torch.where(y == NO_CLASS, 9, y))
        assert not torch.equal(x, plain.batch(3, 4, torch.arange(30))[0])

    def test_labels_that_fit_no_pixel_are_refused(self) -> None:
        images, labels = masks()
        with pytest.raises(UsageError, match=r"a class for each pixel.*shape \(40, 5, 5\) for inputs of \(2, 6, 5\)"):
            made({"train": (images, labels[:, 1:])}, task="segmentation")


@pytest.mark.parametrize("dataset", [regression, segmentation, lambda: segmentation(augment="crop_flip")])
def test_those_that_ship_keep_the_rules(dataset: Any) -> None:
    check_task(dataset())


class AbsoluteError(ArrayTask):
    """A task of a user's own, as docs/own_model.md has it."""

    metric = "mae"
    unit = "m"
    sign = -1
    worst_metric = 100.0

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return functional.smooth_l1_loss(output.float(), target)

    def make_metric(self) -> "Metric":
        from torchmetrics import MeanAbsoluteError

        return MeanAbsoluteError()

    def constant(self) -> torch.Tensor:
        return self.train_targets.median(0).values


class Likelihood(ArrayTask):
    """Digits, judged by the cross-entropy itself."""

    metric = "nats"
    unit = "nats"
    sign = -1
    worst_metric = 10.0

    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return functional.cross_entropy(output.float(), target)

    def make_metric(self) -> "Metric":
        from torchmetrics import MeanMetric

        return MeanMetric()

    def update_metric(self, metric: "Metric", output: torch.Tensor, target: torch.Tensor) -> None:
        metric.update(functional.cross_entropy(output.float(), target, reduction="none"))

    def constant(self) -> torch.Tensor:
        counts = torch.bincount(self.train_targets, minlength=10) + 1
        return (counts / counts.sum()).log()


class MeanOfBatches(AbsoluteError):
    """Averages over batches of unequal size, as a hand-written loop would."""

    def make_metric(self) -> "Metric":
        from torchmetrics import MeanMetric

        return MeanMetric()

    def update_metric(self, metric: "Metric", output: torch.Tensor, target: torch.Tensor) -> None:
        metric.update((output - target).abs().max())


class Jittered(AbsoluteError):
    def augment(self, inputs: Any, targets: Any, index: Any, seed: int, epoch: int) -> Any:
        return inputs + torch.rand_like(inputs), targets


class FarConstant(AbsoluteError):
    worst_metric = 0.5


class Vector(AbsoluteError):
    def loss(self, output: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        return (output - target).abs()


def with_task(monkeypatch: pytest.MonkeyPatch, task: type[Task]) -> Dataset:
    monkeypatch.setattr("tune_qat.data.task.users_part", lambda name, kind: task)
    return made({"train": numbers(), "val": numbers(31, seed=1)}, task="mine:Task")


class TestOwnTask:
    def test_is_evaluated_by_its_metric(self, monkeypatch: pytest.MonkeyPatch) -> None:
        dataset = with_task(monkeypatch, AbsoluteError)
        val: Any = dataset.splits["val"]
        found = dataset.task().evaluate(lambda x: x[:, :3], "val")
        assert found.metric == pytest.approx(np.abs(val.inputs[:, :3] - val.targets).mean(), rel=1e-5)
        check_task(dataset)

    def test_may_be_set_for_labelled_images_of_the_table(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("tune_qat.data.task.users_part", lambda name, kind: Likelihood)
        dataset, plain = data.load("digits", task="mine:Task"), data.load("digits")
        assert (dataset.spec.task, dataset.spec.metric, dataset.model_input.task) == ("mine:Task", "nats", "mine:Task")
        assert dataset.fingerprint == plain.fingerprint and dataset.task().normalisation == plain.task().normalisation
        assert dataset.task().trivial("val").metric == pytest.approx(plain.task().trivial("val").loss, rel=1e-5)
        check_task(dataset)

    @pytest.mark.parametrize(
        ("task", "rule"),
        [
            (MeanOfBatches, "does not depend on how it is cut into batches"),
            (Jittered, "depends on .seed, epoch, sample. alone"),
            (FarConstant, "`worst_metric` is no better than"),
            (Vector, "`loss` is a finite number of shape"),
        ],
    )
    def test_a_broken_rule_is_named(self, task: type[Task], rule: str, monkeypatch: pytest.MonkeyPatch) -> None:
        with pytest.raises(UsageError, match=rule):
            check_task(with_task(monkeypatch, task))

    def test_what_a_class_lacks_is_named_before_it_is_made(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Half(ArrayTask):
            metric, unit, sign = "half", "", 2

            def make_metric(self) -> "Metric":
                raise NotImplementedError

        with pytest.raises(UsageError) as caught:
            with_task(monkeypatch, Half)  # type: ignore[type-abstract]  # which is what is refused
        for part in ("no method `constant`", "no method `loss`", "`sign` must be 1", "`worst_metric` must be a finite"):
            assert part in str(caught.value)
        with pytest.raises(UsageError, match="must be a class made from"):
            with_task(monkeypatch, dict)  # type: ignore[arg-type]
