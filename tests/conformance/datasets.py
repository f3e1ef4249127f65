"""What every dataset of the table has to keep. A new one adds a subclass to `test_datasets.py`."""

import math
from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import torch
from torch.nn import functional

from tests.references import datasets as reference
from tune_qat import data
from tune_qat.data import residency
from tune_qat.data.counter_rng import permutation
from tune_qat.data.spec import CLASSIFICATION, Arrays, ImagePairs, LabelledImages
from tune_qat.data.task import Dataset, Task

torch.set_num_threads(1)


class DatasetConformance:
    """Subclasses name the dataset and, where it lies in a folder, override `data_dir` with a tiny one."""

    name: ClassVar[str]
    options: ClassVar[Mapping[str, Any]] = {}

    @pytest.fixture(scope="class")
    @classmethod
    def data_dir(cls) -> Path | None:
        return None

    @pytest.fixture(scope="class")
    @classmethod
    def dataset(cls, data_dir: Path | None) -> Dataset:
        return data.load(cls.name, data_dir=data_dir, options=cls.options)

    @pytest.fixture(scope="class")
    @classmethod
    def task(cls, dataset: Dataset) -> Task:
        return dataset.task("cpu")

    def test_describes_itself(self, dataset: Dataset) -> None:
        spec = dataset.spec
        assert spec is data.get_spec(self.name)
        assert spec.summary
        assert bool(spec.layout) == bool(spec.how_to_get)
        assert set(spec.options) >= {"split_seed", "val_seed"}
        assert dataset.options == data.resolve_options(spec, self.options)
        assert {**spec.options, **self.options} == {**spec.options, **dataset.options}

    def test_three_splits_and_no_sample_in_two(self, dataset: Dataset) -> None:
        assert set(dataset.splits) == {"train", "val", "test"}
        assert all(size > 0 for size in dataset.sizes.values())
        samples = [sample for split in dataset.splits.values() for sample in _samples(split)]
        assert len(set(samples)) == len(samples) == sum(dataset.sizes.values())
        if dataset.names is not None:
            names = [name for split in dataset.names.values() for name in split]
            assert len(set(names)) == len(names)
            assert {split: len(members) for split, members in dataset.names.items()} == dataset.sizes

    def test_the_table_knows_its_images(self, dataset: Dataset, task: Task) -> None:
        if dataset.spec.image is None:
            return
        known, found = data.known_input(self.name, dataset.options), dataset.model_input
        assert known is not None and (known.task, known.channels, known.scale) == (
            found.task,
            found.channels,
            found.scale,
        )
        assert task.batch(0, 1, torch.arange(1))[0].shape == (1, known.channels, known.height, known.width)

    def test_arrays_are_as_described(self, dataset: Dataset) -> None:
        for split in dataset.splits.values():
            if isinstance(split, LabelledImages):
                self._check_labelled(dataset, split)
            else:
                assert isinstance(split, ImagePairs)
                self._check_pairs(dataset, split)

    def _check_labelled(self, dataset: Dataset, split: LabelledImages) -> None:
        expected = dataset.model_input
        assert split.images.dtype == np.uint8 and split.labels.dtype == np.int64
        assert split.images.shape == (len(split.labels), expected.channels, expected.height, expected.width)
        assert split.images.flags.c_contiguous
        assert expected.classes is not None and expected.scale is None
        assert split.labels.min() >= 0 and split.labels.max() < expected.classes

    def _check_pairs(self, dataset: Dataset, split: ImagePairs) -> None:
        expected = dataset.model_input
        assert (expected.channels, expected.height, expected.width, expected.classes) == (1, None, None, None)
        assert split.low.dtype == split.high.dtype == np.uint8
        assert split.low_shapes.dtype == split.high_shapes.dtype == np.int64
        assert np.array_equal(split.low_shapes * expected.scale, split.high_shapes)
        for low, high in reference.images_of(split):
            assert 16 <= low.min() and low.max() <= 235, "luma of BT.601 stays within studio swing"
            assert 16 <= high.min() and high.max() <= 235

    def test_fingerprints_are_stable_and_tell_data_from_split(self, dataset: Dataset, data_dir: Path | None) -> None:
        again = data.load(self.name, data_dir=data_dir, options=self.options)
        assert (again.fingerprint, again.split_fingerprint) == (dataset.fingerprint, dataset.split_fingerprint)
        other_seed = dataset.options["split_seed"] + 1
        other = data.load(self.name, data_dir=data_dir, options={**self.options, "split_seed": other_seed})
        assert other.fingerprint == dataset.fingerprint
        assert other.split_fingerprint != dataset.split_fingerprint
        assert other.sizes.keys() == dataset.sizes.keys()

    def test_batch_is_a_function_of_seed_epoch_and_sample(self, task: Task) -> None:
        order = permutation(task.train_size, 1)[:16]
        x, y = task.batch(5, 2, order)
        again_x, again_y = task.batch(5, 2, order)
        assert torch.equal(x, again_x) and torch.equal(y, again_y)
        alone = [task.batch(5, 2, order[i : i + 1]) for i in range(len(order))]
        assert torch.equal(x, torch.cat([one for one, _ in alone])), "batch mates change a sample"
        assert torch.equal(y, torch.cat([one for _, one in alone]))
        backwards_x, _ = task.batch(5, 2, order.flip(0))
        assert torch.equal(backwards_x.flip(0), x), "the order within a batch changes a sample"

    def test_augmentation_follows_seed_and_epoch(self, dataset: Dataset, task: Task) -> None:
        order = torch.arange(min(16, task.train_size))
        x, _ = task.batch(5, 2, order)
        varied = dataset.options.get("augment", "patches") != "none"
        assert torch.equal(task.batch(6, 2, order)[0], x) != varied
        assert torch.equal(task.batch(5, 3, order)[0], x) != varied

    @pytest.mark.parametrize("batch_size", [1, 5, 16])
    def test_batches_are_those_of_batch_without_a_smaller_last_one(self, task: Task, batch_size: int) -> None:
        order = permutation(task.train_size, 3)[: 3 * batch_size + batch_size // 2]
        found = list(task.batches(5, 2, order, batch_size))
        assert len(found) == 3
        for position, (x, y) in enumerate(found):
            expected_x, expected_y = task.batch(5, 2, order[position * batch_size : (position + 1) * batch_size])
            assert torch.equal(x, expected_x) and torch.equal(y, expected_y)
            assert x.stride() == expected_x.stride() and y.stride() == expected_y.stride()

    def test_order_shorter_than_a_batch_gives_none(self, task: Task) -> None:
        assert list(task.batches(5, 2, torch.arange(3), 4)) == []

    def test_data_that_does_not_stay_on_the_device_gives_the_same(
        self, dataset: Dataset, task: Task, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        # A device without free memory: what a GPU too small for the data would do, on the CPU.
        monkeypatch.setattr(residency, "free_memory", lambda device: 0)
        other, order = dataset.task("cpu"), permutation(task.train_size, 4)[:20]
        assert other.prepares_ahead
        both = zip(task.batches(5, 2, order, 6), other.batches(5, 2, order, 6), strict=True)
        assert all(torch.equal(a, b) for first, second in both for a, b in zip(first, second, strict=True))
        predict = _predictor(dataset)
        assert other.evaluate(predict, "val") == task.evaluate(predict, "val")
        assert other.trivial("val") == task.trivial("val") and other.baselines("val") == task.baselines("val")

    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
    @pytest.mark.parametrize("full", [False, True])
    def test_a_gpu_gives_the_same_batches(
        self, dataset: Dataset, task: Task, full: bool, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        if full:
            monkeypatch.setattr(residency, "free_memory", lambda device: 0)
        other, order = dataset.task("cuda"), permutation(task.train_size, 4)[:20]
        assert other.prepares_ahead == full
        for expected, found in zip(task.batches(5, 2, order, 6), other.batches(5, 2, order, 6), strict=True):
            assert all(
                one.is_cuda and torch.equal(one.cpu(), other) for one, other in zip(found, expected, strict=True)
            )

    def test_batch_fits_the_model_input(self, dataset: Dataset, task: Task) -> None:
        x, y = task.batch(0, 0, torch.arange(min(8, task.train_size)))
        expected = dataset.model_input
        assert x.dtype == torch.float32 and x.shape[1] == expected.channels
        if expected.task == CLASSIFICATION:
            assert x.shape[2:] == (expected.height, expected.width)
            assert y.dtype == torch.int64 and y.shape == (len(x),)
            assert 0 <= y.min() and y.max() < (expected.classes or 0)
        else:
            side = dataset.options["patch_size"]
            assert x.shape[2:] == (side, side) and y.shape[2:] == (side * expected.scale, side * expected.scale)
            assert y.dtype == torch.float32
            for values in (x, y):
                assert 0 <= values.min() and values.max() <= 1

    @pytest.mark.parametrize("split", ["val", "test"])
    def test_evaluate_agrees_with_a_plain_loop(self, dataset: Dataset, task: Task, split: str) -> None:
        arrays = dataset.splits[split]
        predict = _predictor(dataset)
        result = task.evaluate(predict, split)
        assert result.n == dataset.sizes[split]
        if isinstance(arrays, LabelledImages):
            mean, std = reference.channel_statistics(reference.labelled(dataset, "train").images)
            loss, correct, in_top5 = reference.evaluate_labelled(arrays, predict, mean, std)
            assert result.correct == correct and result.metric == correct / result.n
            assert result.top5 == (None if (dataset.model_input.classes or 0) < 10 else in_top5 / result.n)
        else:
            assert isinstance(arrays, ImagePairs)
            loss, psnr = reference.evaluate_pairs(arrays, predict, dataset.options["scale"])
            assert result.metric == pytest.approx(psnr, abs=1e-4)  # dB; float32 errors of about 1e-7 relative
            assert result.correct is None and result.top5 is None
        assert result.loss == pytest.approx(loss, rel=1e-5)  # float32 sums over at most a few thousand terms

    @pytest.mark.parametrize("split", ["val", "test"])
    def test_trivial_score_is_the_constant_of_the_training_split(
        self, dataset: Dataset, task: Task, split: str
    ) -> None:
        arrays = dataset.splits[split]
        result = task.trivial(split)
        if isinstance(arrays, LabelledImages):
            labels = reference.labelled(dataset, "train").labels
            counts = np.bincount(labels, minlength=dataset.model_input.classes or 0) + 1
            assert result.metric == np.mean(arrays.labels == counts.argmax())
            loss = -np.mean(np.log(counts / counts.sum())[arrays.labels])
        else:
            assert isinstance(arrays, ImagePairs)
            grey = reference.pairs(dataset, "train").high.mean() / 255
            planes = [(low, np.full(high.shape, grey), high / 255) for low, high in reference.images_of(arrays)]
            psnr = np.mean([reference.psnr(flat, high, dataset.options["scale"]) for _, flat, high in planes])
            assert result.metric == pytest.approx(psnr, abs=1e-4)  # dB, as above
            loss = np.mean([np.mean((flat - high) ** 2) for _, flat, high in planes])
        assert result.loss == pytest.approx(float(loss), rel=1e-5)  # float32, as above

    def test_scores_are_ordered_as_they_should_be(self, dataset: Dataset, task: Task) -> None:
        trivial = task.trivial("val").metric
        baselines = task.baselines("val")
        assert task.sign == 1 and math.isfinite(task.worst_metric) and task.worst_metric <= trivial
        assert task.metric == dataset.spec.metric and task.unit
        if dataset.spec.task == CLASSIFICATION:
            assert baselines == {}
        else:
            assert set(baselines) == {"bicubic", "nearest"}
            assert trivial < baselines["nearest"] and trivial < baselines["bicubic"] < 100

    def test_predictions_that_are_not_finite_give_nan_and_no_error(self, dataset: Dataset, task: Task) -> None:
        predict = _predictor(dataset)
        result = task.evaluate(lambda x: predict(x) * math.nan, "val")
        assert math.isnan(result.loss) and math.isnan(result.metric)

    def test_read_only_arrays_are_shared_without_a_warning(
        self, dataset: Dataset, recwarn: pytest.WarningsRecorder
    ) -> None:
        shared = replace(dataset, splits={name: _read_only(split) for name, split in dataset.splits.items()})
        task = shared.task("cpu")
        task.batch(0, 0, torch.arange(2))
        task.evaluate(_predictor(dataset), "val")
        assert not recwarn.list

    def test_evaluating_leaves_the_data_alone(self, dataset: Dataset, task: Task) -> None:
        before = [array.copy() for split in dataset.splits.values() for array in _arrays(split).values()]
        task.batch(0, 0, torch.arange(4))
        task.evaluate(lambda x: _predictor(dataset)(x.mul_(0)), "val")
        after = [array for split in dataset.splits.values() for array in _arrays(split).values()]
        assert all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))


def _arrays(split: LabelledImages | Arrays | ImagePairs) -> dict[str, np.ndarray]:
    """By name, wherever they are kept."""
    found = {field.name: getattr(split, field.name) for field in fields(split)}
    return {name: array for name, array in found.items() if array is not None}


def _read_only(split: LabelledImages | Arrays | ImagePairs) -> LabelledImages | Arrays | ImagePairs:
    views = {key: array.view() for key, array in _arrays(split).items()}
    for view in views.values():
        view.flags.writeable = False
    return ImagePairs(**views) if isinstance(split, ImagePairs) else LabelledImages(**views)


def _samples(split: LabelledImages | Arrays | ImagePairs) -> list[bytes]:
    if isinstance(split, LabelledImages):
        return [image.tobytes() for image in split.images]
    assert isinstance(split, ImagePairs)
    return [high.tobytes() for _, high in reference.images_of(split)]


def _predictor(dataset: Dataset) -> reference.Predict:
    """A fixed, imperfect predictor whose outputs also leave the range that is clamped."""
    expected = dataset.model_input
    if expected.task == CLASSIFICATION:
        features = reference.labelled(dataset, "train").images[0].size
        generator = torch.Generator().manual_seed(0)
        weight = torch.randn((features, expected.classes or 0), generator=generator)
        return lambda x: x.flatten(1) @ weight / 10
    return lambda x: functional.interpolate(x, scale_factor=expected.scale, mode="nearest") * 1.4 - 0.2
