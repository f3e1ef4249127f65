"""The rule of a right answer against a plain sort, with ties and what is no number."""

import itertools
import math

import numpy as np
import pytest
import torch

from tests.references.datasets import is_among
from tune_qat.data.ranking import is_right, places

INF, NAN = math.inf, math.nan


def judged(logits: torch.Tensor, labels: torch.Tensor, best: int) -> list[bool]:
    return [is_among(row, int(label), best) for row, label in zip(logits.double().numpy(), labels, strict=True)]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
@pytest.mark.parametrize("levels", [1, 2, 5, 1_000])
def test_is_that_of_a_plain_sort_for_every_k(levels: int, dtype: torch.dtype) -> None:
    generator = torch.Generator().manual_seed(levels)
    logits = torch.randint(levels, (200, 12), generator=generator).to(dtype) - levels // 2
    labels = torch.randint(12, (200,), generator=generator)
    for best in range(1, 12):
        assert (places(logits, labels) < best).tolist() == judged(logits, labels, best), best
    assert is_right(logits, labels).tolist() == judged(logits, labels, 1)


def test_every_row_of_what_compares_oddly() -> None:
    rows = list(itertools.product((0.0, -0.0, 1.0, INF, -INF, NAN), repeat=3))
    for label in range(3):
        labels = torch.full((len(rows),), label)
        logits = torch.tensor(rows)
        for best in (1, 2):
            assert (places(logits, labels) < best).tolist() == judged(logits, labels, best)
        assert is_right(logits, labels).tolist() == judged(logits, labels, 1)


@pytest.mark.parametrize("value", [0.0, -3.5, INF])
def test_equal_logits_answer_class_0(value: float) -> None:
    labels = torch.arange(1_000)
    logits = torch.full((1_000, 1_000), value)
    assert places(logits, labels).tolist() == labels.tolist()
    assert is_right(logits, labels).tolist() == [True] + [False] * 999


def test_nan_is_never_right() -> None:
    labels = torch.arange(20)
    logits = torch.full((20, 20), NAN)
    assert (places(logits, labels) == 20).all() and not is_right(logits, labels).any()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("classes", [10, 1_000])
def test_is_the_same_on_a_gpu(classes: int) -> None:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randint(3, (500, classes), generator=generator).float()
    logits[::7, 3] = NAN
    labels = torch.randint(classes, (500,), generator=generator)
    for rule in (places, is_right):
        assert torch.equal(rule(logits.cuda(), labels.cuda()).cpu(), rule(logits, labels))


def test_rows_in_memory_do_not_matter() -> None:
    logits = torch.from_numpy(np.random.default_rng(0).integers(0, 3, (30, 40)).astype(np.float32))
    labels = torch.arange(40) % 30
    assert torch.equal(places(logits.T, labels), places(logits.T.contiguous(), labels))
