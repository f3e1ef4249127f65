"""Arrays of a user's own: splits, types, identity, and what is refused."""

import logging
from typing import Any

import numpy as np
import pytest
import torch

from tests.data.own_data import arrays, made
from tune_qat.config import UsageError
from tune_qat.data.fingerprint import digest
from tune_qat.data.spec import ModelInput
from tune_qat.data.task import Dataset


def rows(dataset: Dataset, split: str) -> set[str]:
    return {digest(row) for row in dataset.splits[split].inputs}  # type: ignore[union-attr]


class TestSplits:
    def test_a_missing_val_is_a_stratified_tenth_of_train(self) -> None:
        dataset = made({"train": arrays(60), "test": arrays(9, seed=1)})
        assert dataset.sizes == {"train": 54, "val": 6, "test": 9}
        assert np.bincount(dataset.splits["val"].targets).tolist() == [2, 2, 2]  # type: ignore[union-attr]
        assert rows(dataset, "train") | rows(dataset, "val") == {digest(row) for row in arrays(60)[0]}
        assert not rows(dataset, "train") & rows(dataset, "val")

    def test_a_given_val_stays_as_it_is(self) -> None:
        dataset = made({"train": arrays(60), "val": arrays(12, seed=1)})
        assert dataset.sizes == {"train": 60, "val": 12}
        assert np.array_equal(dataset.splits["val"].inputs, arrays(12, seed=1)[0])  # type: ignore[union-attr]
        with pytest.raises(UsageError, match="'val_seed'.*gives its own 'val'"):
            made({"train": arrays(60), "val": arrays(12, seed=1)}, val_seed=1)

    def test_seeds_draw_as_they_do_for_the_datasets_of_the_table(self) -> None:
        def val(**options: Any) -> set[str]:
            return rows(made({"train": arrays(200)}, train_limit=60, **options), "val")

        assert val() == val() == val(split_seed=0, val_seed=0)
        assert (
            len({frozenset(val(**seeds)) for seeds in ({}, {"split_seed": 1}, {"val_seed": 1}, {"val_seed": 2})}) == 4
        )
        first, second = (made({"train": arrays(200)}, train_limit=60, subset_seed=seed) for seed in (0, 1))
        assert first.sizes["train"] == 60 and not rows(first, "train") & rows(second, "train")
        assert first.train_index is not None and second.train_index is not None

    def test_identity_is_that_of_the_content_and_of_the_split(self) -> None:
        plain = made({"train": arrays(60)})
        assert made({"train": arrays(60)}, split_seed=1).fingerprint == plain.fingerprint
        assert made({"train": arrays(60)}, split_seed=1).split_fingerprint != plain.split_fingerprint
        inputs, targets = arrays(60)
        others = (inputs + (np.arange(60) == 7)[:, None, None, None].astype(np.uint8), targets), (inputs, targets[::-1])
        prints = {made({"train": other}).fingerprint for other in others}
        assert len(prints | {plain.fingerprint}) == 3
        assert made({"train": arrays(60), "test": arrays(9, seed=1)}).fingerprint != plain.fingerprint


@pytest.mark.parametrize(
    ("inputs", "stored", "dtype"),
    [
        (np.ones((30, 2, 5)), np.float32, "float32"),
        (np.ones((30, 7), np.float16), np.float32, "float32"),
        (np.ones((30, 1, 4, 4), bool), np.uint8, "float32"),
        (np.ones((30, 9), np.int32), np.int32, "int64"),
        (np.ones((30, 9), np.uint32), np.int64, "int64"),
        (torch.ones(30, 3, 2, 2, 2), np.float32, "float32"),
    ],
    ids=str,
)
def test_inputs_of_any_shape_and_type(inputs: Any, stored: Any, dtype: str) -> None:
    dataset = made({"train": (inputs, np.arange(30) % 2)})
    assert dataset.splits["train"].inputs.dtype == stored  # type: ignore[union-attr]
    shape = tuple(inputs.shape[1:])
    assert (dataset.model_input.shape, dataset.model_input.dtype) == (shape, dtype)
    assert dataset.model_input.is_image == (len(shape) == 3 and dtype == "float32")
    task = dataset.task()
    batch, targets = task.batch(0, 1, torch.arange(4))
    assert batch.shape == (4, *shape) and str(batch.dtype) == f"torch.{dtype}" and targets.dtype == torch.int64
    assert task.normalisation == ([0.0], [1.0]) and torch.equal(batch, torch.ones_like(batch))


class TestModelInput:
    def test_of_images_is_what_it_was(self) -> None:
        image = ModelInput(task="classification", channels=1, height=28, width=28, classes=10, scale=None)
        assert image.shape == (1, 28, 28) and image.is_image
        old = {"task": "classification", "channels": 1, "height": 28, "width": 28, "classes": 10, "scale": None}
        assert image.to_dict() == old and ModelInput(**old) == image  # type: ignore[arg-type]

    @pytest.mark.parametrize(("shape", "dtype"), [((7,), "float32"), ((2, 9), "float32"), ((5,), "int64")])
    def test_of_others_is_read_back(self, shape: tuple[int, ...], dtype: str) -> None:
        found = ModelInput.of_shape(shape, task="classification", classes=2, dtype=dtype)
        assert ModelInput(**{**found.to_dict(), "shape": list(shape)}) == found


class TestNormalised:
    def test_images_by_levels_and_floats_by_channel(self) -> None:
        random = np.random.default_rng(3)
        for inputs, axes in ((arrays(50)[0], (0, 2, 3)), (random.normal(5, 3, (50, 4, 9)), (0, 2)),
                             (random.normal(1e4, 1, (50, 4)), (0,))):  # fmt: skip
            dataset = made(
                {"train": (inputs, np.arange(50) % 2), "val": (inputs[:9] + 1, np.arange(9) % 2)}, normalise=True
            )
            task = dataset.task()
            batch, _ = task.batch(0, 1, torch.arange(50))
            numbers = np.asarray(inputs, np.float32).astype(float)
            expected = (numbers - numbers.mean(axes, keepdims=True)) / numbers.std(axes, keepdims=True)
            # float32 subtracts a mean of 10^4 to about 10^-3
            assert np.allclose(batch.numpy(), expected, atol=2e-3 if numbers.mean() > 1e3 else 1e-5)
            shape = (1, len(task.normalisation[0]), *[1] * (inputs.ndim - 2))
            mean, deviation = (np.reshape(one, shape) for one in task.normalisation)
            assert np.allclose((numbers - mean) / deviation, expected, atol=2e-3)

    def test_a_constant_channel_becomes_zero(self) -> None:
        task = made({"train": (np.full((20, 2), 7.5), np.arange(20) % 2)}, normalise=True).task()
        assert torch.equal(task.batch(0, 1, torch.arange(3))[0], torch.zeros(3, 2))

    def test_evaluating_leaves_floats_alone(self) -> None:
        for normalise in (False, True):
            dataset = made({"train": (np.ones((20, 2)), np.arange(20) % 2)}, normalise=normalise)
            before = dataset.splits["val"].inputs.copy()  # type: ignore[union-attr]
            dataset.task().evaluate(lambda x: x.mul_(0), "val")
            assert np.array_equal(dataset.splits["val"].inputs, before)  # type: ignore[union-attr]


GOOD = arrays(30)
NOT_A_NUMBER = np.where(np.arange(30 * 4).reshape(30, 4) == 41, np.nan, 1.0)


@pytest.mark.parametrize(
    ("found", "options", "text"),
    [
        ([1, 2], {}, "must give a mapping from 'train'.*but gave list"),
        ({"val": GOOD}, {}, "must give a mapping.*but gave a mapping with 'val'"),
        ({"train": GOOD, "validation": GOOD}, {}, "gave a mapping with 'train', 'validation'"),
        ({"train": GOOD[0]}, {}, "Split 'train'.*samples are a pair of arrays.*but got ndarray"),
        ({"train": (*GOOD, 1)}, {}, "but got tuple of 3"),
        ({"train": (GOOD[0], GOOD[1][:-2])}, {}, "it has 30 inputs and 28 targets"),
        ({"train": GOOD, "test": (GOOD[0][:0], GOOD[1][:0])}, {}, "Split 'test'.*it has no samples"),
        ({"train": (GOOD[1], GOOD[1])}, {}, r"inputs have the shape \(30,\); they need an axis of samples"),
        ({"train": (GOOD[0][:1], GOOD[1][:1])}, {}, "1 sample is too few to cut a validation split from"),
        ({"train": (NOT_A_NUMBER, GOOD[1])}, {}, r"inputs of sample 10 are not finite in float32 \(1 such samples"),
        ({"train": (np.full((30, 2), 1e300), GOOD[1])}, {}, r"not finite in float32 \(30 such"),
        ({"train": (GOOD[0].astype(str), GOOD[1])}, {}, "inputs are of type <U3, but must be floats or whole numbers"),
        ({"train": (GOOD[0].astype(complex), GOOD[1])}, {}, "inputs are of type complex128"),
        ({"train": (GOOD[0], GOOD[1].astype(float))}, {}, "targets of classification are whole numbers.*not float32"),
        ({"train": (GOOD[0], GOOD[1] - 1)}, {}, "from 0 to 1, the largest in train, but that of sample 0 is -1"),
        ({"train": GOOD, "test": (arrays(9, seed=1)[0], arrays(9, classes=5)[1])}, {},
         "Split 'test'.*labels are from 0 to 2, the largest in train, but that of sample 3 is 3"),
        ({"train": GOOD, "val": arrays(9, (1, 5, 5))}, {}, r"Split 'val'.*its inputs are uint8 of shape \(1, 5, 5\)"),
        ({"train": (np.ones((30, 4)), GOOD[1])}, {"augment": "crop_flip"}, "crop_flip is for images"),
        ({"train": (np.ones((30, 4), int), GOOD[1])}, {"normalise": True}, "inputs are int64, which are taken for ids"),
    ],
)  # fmt: skip
def test_bad_data_is_one_message(found: Any, options: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError, match=text):
        made(found, **options)


class TestTheSameSamplesTwice:
    def test_are_refused_where_splits_take_them_from_one_array(self) -> None:
        inputs, targets = arrays(60)
        taken = {split: (inputs[at], targets[at]) for split, at in
                 (("train", slice(0, 30)), ("val", slice(30, 45)), ("test", slice(44, 60)))}  # fmt: skip
        with pytest.raises(UsageError, match="the same samples in val and in test: they share memory"):
            made(taken)
        with pytest.raises(UsageError, match="in train and in val, which are one object"):
            made({"train": (inputs, targets), "val": (inputs, targets)})
        whole = {"train": slice(0, 30), "val": slice(30, 45), "test": slice(45, 60)}
        made({split: (inputs[at], targets[at]) for split, at in whole.items()})

    def test_are_counted_where_only_their_content_is_the_same(self, caplog: pytest.LogCaptureFixture) -> None:
        inputs, targets = arrays(60)
        test = inputs[[3, 4, 5, 50]].copy(), targets[[3, 4, 5, 50]]
        with caplog.at_level(logging.WARNING):
            made({"train": (inputs[:40], targets[:40]), "val": (inputs[40:], targets[40:]), "test": test})
        assert [record.getMessage() for record in caplog.records] == [
            "Dataset 'own_data:load': by content, 3 of 4 samples of test are in train, too.",
            "Dataset 'own_data:load': by content, 1 of 4 samples of test are in val, too.",
        ]
        caplog.clear()
        made({"train": (inputs[:40], targets[:40]), "val": (inputs[40:], targets[40:])})
        assert not caplog.records
