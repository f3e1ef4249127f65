"""Map-style torch datasets of a user's own: read once, into memory or into a file, and the same in both."""

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Subset, TensorDataset

from tests.data.own_data import made
from tune_qat.config import UsageError
from tune_qat.data.mapped_images import MappedArrays
from tune_qat.data.own_items import READ_TWICE
from tune_qat.data.pixel_file import CACHE_VARIABLE
from tune_qat.data.task import Dataset


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(CACHE_VARIABLE, str(tmp_path / "cache"))
    return tmp_path / "cache"


class Listed:
    """Items of a list, which counts how often each is read."""

    def __init__(self, items: list[Any]) -> None:
        self.items = items
        self.reads = [0] * len(items)

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, number: int) -> Any:
        self.reads[number] += 1
        return self.items[number]


def signals(n: int = 40, seed: int = 0) -> TensorDataset:
    generator = torch.Generator().manual_seed(seed)
    return TensorDataset(torch.randn(n, 2, 9, generator=generator, dtype=torch.float64), torch.arange(n) % 3)


def test_a_file_and_memory_hold_the_same(cache: Path) -> None:
    found = {"train": signals(), "test": signals(8, seed=1)}
    mapped, kept = made(found, normalise=True), made(found, normalise=True, in_memory=True)
    assert (mapped.fingerprint, mapped.split_fingerprint) == (kept.fingerprint, kept.split_fingerprint)
    assert mapped.sizes == kept.sizes == {"train": 36, "val": 4, "test": 8}
    assert mapped.model_input == kept.model_input and mapped.model_input.shape == (2, 9)
    order, (one, other) = torch.arange(36), (mapped.task(), kept.task())
    assert one.prepares_ahead and not other.prepares_ahead
    assert all(torch.equal(a, b) for a, b in zip(one.batch(1, 2, order), other.batch(1, 2, order), strict=True))
    assert one.normalisation == other.normalisation
    assert len(list(cache.iterdir())) == 3 and all(path.name.startswith("own-") for path in cache.iterdir())
    made(found)
    assert len(list(cache.iterdir())) == 3, "the same content is the same file"


def test_processes_open_the_file_themselves() -> None:
    dataset = made({"train": signals()})
    again: Dataset = pickle.loads(pickle.dumps(dataset))
    split = again.splits["train"]
    assert isinstance(split, MappedArrays) and len(pickle.dumps(split)) < 2_000
    assert np.array_equal(split.inputs, dataset.splits["train"].inputs)  # type: ignore[union-attr]


def test_every_item_is_read_once_but_for_those_that_are_compared() -> None:
    items = Listed([(torch.full((3,), float(i)), i % 2) for i in range(200)])
    dataset = made({"train": items}, train_limit=100)
    assert dataset.sizes == {"train": 100, "val": 20}
    compared = READ_TWICE + 20  # all of val
    first = 2  # of train and of val, which tell the shape
    assert sum(items.reads) == 120 + compared + first
    assert sum(reads == 0 for reads in items.reads) == 80, "items that train_limit leaves out are not read"


def test_images_of_pillow_are_taken_as_they_are() -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (20, 5, 4, 3)).astype(np.uint8)
    items = [(Image.fromarray(one), i % 2) for i, one in enumerate(pixels)]
    dataset = made({"train": Listed(items)}, in_memory=True)
    assert dataset.model_input.shape == (3, 5, 4)
    assert np.array_equal(dataset.splits["train"].inputs, pixels[dataset.train_index].transpose(0, 3, 1, 2))  # type: ignore[union-attr]
    grey = made({"train": Listed([(Image.fromarray(one[..., 0]), 0) for one in pixels])})
    assert grey.model_input.shape == (1, 5, 4)


class Random(Listed):
    def __getitem__(self, number: int) -> Any:
        return torch.rand(3), number % 2


class Broken(Listed):
    def __getitem__(self, number: int) -> Any:
        raise KeyError("file 7")


POINT = torch.zeros(3)


@pytest.mark.parametrize(
    ("source", "text"),
    [
        (Random([0] * 20), r"item \d+ is another one when it is read again.*take random"),
        (Broken([0] * 20), r"item \d+ cannot be read \(KeyError: 'file 7'\)"),
        (Listed([POINT] * 20), "is no pair of an input and a target, but Tensor"),
        (Listed([(POINT, 0)] * 10 + [(torch.zeros(4), 0)] * 10), r"the input of item \d+ is float32 of shape \(.,\)"),
        (Listed([(POINT, 0)] * 10 + [(POINT, 0.5)] * 10), r"the target of item \d+ is"),
        (Listed([(POINT, 0)] * 10 + [(POINT + torch.inf, 0)] * 10), r"inputs of item 1\d.* not finite"),
        (Listed([]), "it has no samples"),
        (iter([(POINT, 0)]), "with a length and items by number, but got list_iterator"),
    ],
)
def test_what_is_no_such_dataset_is_refused(source: Any, text: str, cache: Path) -> None:
    with pytest.raises(UsageError, match=f"(?s)Split 'train' of dataset 'own_data:load'.*{text}"):
        made({"train": source})
    assert not cache.exists() or not list(cache.iterdir()), "half a file is left"


def test_subsets_that_share_an_index_are_refused() -> None:
    whole = signals(60)
    nested = Subset(Subset(whole, range(20, 60)), range(10, 40))  # 30 to 59
    parts = {"train": Subset(whole, range(20)), "val": Subset(whole, range(20, 31)), "test": nested}
    with pytest.raises(UsageError, match="same samples in val and in test: index 30 of the whole dataset, and 0 more"):
        made(parts)
    sizes = made({**parts, "val": Subset(whole, range(20, 30))}).sizes
    assert sizes == {"train": 20, "val": 10, "test": 30}
