import numpy as np
import pytest
import torch
from scipy import stats

from tune_qat.data import counter_rng

N = 100_000
ALPHA = 1e-4  # seeded, so a test either always passes or always fails; small, as some forty values are judged


def splitmix64(state: int) -> int:
    """The published generator's output for a state that was already advanced, in plain integers."""
    mask = (1 << 64) - 1
    state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & mask
    state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & mask
    return state ^ (state >> 31)


def test_mixer_is_splitmix64() -> None:
    # Reference outputs of splitmix64 with seed 0: the stream without counters starts at state 0.
    published = [0xE220A8397B1DCDAF, 0x6E789E6AA1B965F4, 0x06C45D188009454F]
    drawn = counter_rng.bits(torch.arange(1, 4)).tolist()
    assert [value % (1 << 64) for value in drawn] == published
    assert splitmix64(0x9E3779B97F4A7C15) == published[0]


@pytest.mark.parametrize("high", [2, 3, 17, 1000])
def test_integers_are_uniform(high: int) -> None:
    drawn = counter_rng.integers(torch.arange(N), high, 3, 1, 0).numpy()
    assert drawn.min() == 0 and drawn.max() == high - 1
    assert stats.chisquare(np.bincount(drawn, minlength=high)).pvalue > ALPHA


def test_every_bit_is_fair() -> None:
    drawn = counter_rng.bits(torch.arange(N), 11, 5)
    for position in range(64):
        ones = int(((drawn >> position) & 1).sum())
        assert stats.binomtest(ones, N).pvalue > ALPHA, f"bit {position}"


@pytest.mark.parametrize(
    "other",
    [(8, 0, 0), (7, 1, 0), (7, 0, 1), (0, 7, 0), (-7, 0, 0)],
    ids=["seed", "epoch", "purpose", "order", "sign"],
)
def test_streams_are_independent(other: tuple[int, int, int]) -> None:
    index = torch.arange(N)
    table = np.zeros((4, 4))
    ours, theirs = counter_rng.integers(index, 4, 7, 0, 0), counter_rng.integers(index, 4, *other)
    np.add.at(table, (ours.numpy(), theirs.numpy()), 1)
    assert stats.chi2_contingency(table).pvalue > ALPHA
    assert not torch.equal(counter_rng.bits(index, 7, 0, 0), counter_rng.bits(index, *other))


def test_neighbouring_indices_are_independent() -> None:
    drawn = counter_rng.integers(torch.arange(N), 4, 7).numpy()
    table = np.zeros((4, 4))
    np.add.at(table, (drawn[:-1], drawn[1:]), 1)
    assert stats.chi2_contingency(table).pvalue > ALPHA


def test_draw_depends_on_its_index_alone() -> None:
    index = torch.tensor([5, 900, 5, 12])
    together = counter_rng.bits(index, 1, 2)
    assert together.tolist() == [counter_rng.bits(index[i : i + 1], 1, 2).item() for i in range(4)]
    assert together[0] == together[2]


def test_high_may_differ_by_element() -> None:
    index, high = torch.arange(N), torch.arange(N) % 5 + 1
    drawn = counter_rng.integers(index, high, 4)
    assert (drawn >= 0).all() and (drawn < high).all()
    assert (drawn[high == 1] == 0).all()


def test_largest_range_does_not_overflow() -> None:
    drawn = counter_rng.integers(torch.arange(N), 2**31, 4)
    assert drawn.min() >= 0 and drawn.max() < 2**31
    assert drawn.double().mean().item() == pytest.approx(2**30, rel=0.01)  # 5 standard errors of the mean


def test_permutation_holds_each_number_once_and_follows_its_counters() -> None:
    first = counter_rng.permutation(1000, 3, 1)
    assert sorted(first.tolist()) == list(range(1000))
    assert torch.equal(first, counter_rng.permutation(1000, 3, 1))
    assert not torch.equal(first, counter_rng.permutation(1000, 3, 2))
    assert not torch.equal(first, torch.arange(1000))
