"""Points that no sampler proposes."""

import math
from itertools import islice

import pytest

from tune_qat.config import Range
from tune_qat.study.space import Dimensions
from tune_qat.tuning.points import NewPart, others, random_points, random_sequence

RATE, SIZES = Range(low=1e-7, high=1e-3), Range(low=8, high=64)
LION = {"lion": {"learning_rate": RATE, "batch_size": SIZES}}
PRODIGY = {"prodigy": {"batch_size": SIZES}}
WIDER = Range(low=1e-7, high=1e-2)


def lion(rate: Range = RATE, sizes: Range = SIZES, **more: Range) -> dict[str, Dimensions]:
    return {"lion": {"learning_rate": rate, "batch_size": sizes, **more}}


def test_a_longer_random_sequence_begins_like_the_shorter_one() -> None:
    assert list(islice(random_sequence(LION, 5, 1), 3)) == list(islice(random_sequence(LION, 3, 1), 3))


def test_optimizers_take_turns_and_only_an_infinite_space_has_more_than_was_planned() -> None:
    found = [optimizer for optimizer, _ in islice(random_sequence({**LION, **PRODIGY}, 4, 0), 20)]
    assert found == ["lion", "prodigy"] * 2 + ["lion"] * 16


def test_the_others_of_a_finite_space_are_all_of_it() -> None:
    assert list(others(PRODIGY, [0])) == [("prodigy", {"batch_size": size}) for size in (8, 16, 32, 64)]
    assert len({values["learning_rate"] for _, values in islice(others(LION, [0]), 100)}) == 100


BETA = Range(low=0.5, high=0.9, log=False)


@pytest.mark.parametrize(
    ("now", "before", "share"),
    [
        (lion(WIDER), lion(), 1 / 5),  # 4 decades become 5
        (lion(Range(low=1e-8, high=1e-2)), lion(), 2 / 6),
        (lion(sizes=Range(low=8, high=256)), lion(), 2 / 6),  # 4 powers of two become 6
        (lion(WIDER, Range(low=4, high=64)), lion(), 1 - 4 / 5 * 4 / 5),
        (lion(b=Range(low=0.5, high=1.0, log=False)), lion(b=BETA), 1 / 5),
        (lion(RATE), lion(WIDER), 0),  # narrower
        (lion(b=BETA), lion(), 0),  # searched for the first time: no range has grown
        (lion(Range(low=1e-7, high=1.01e-3)), lion(), 0),  # too little to search by itself
        ({**lion(WIDER), **PRODIGY}, {**lion(), **PRODIGY}, 1 / 10),
        (lion(bits=Range(low=0, high=2, log=False)), lion(bits=Range(low=0, high=1, log=False)), 0),
    ],
)
def test_the_share_of_the_new_part(now: dict[str, Dimensions], before: dict[str, Dimensions], share: float) -> None:
    part = NewPart(now, before)
    assert part.share == pytest.approx(share, abs=1e-12)  # products of a few ratios
    if share:
        points = [("lion", values) for values in islice(random_points(now["lion"], 0), 2_000)]
        held = sum(part.holds(*point) for point in points) / 2_000
        expected = share * len(now)  # of the one optimizer that has grown
        assert abs(held - expected) < 6 * math.sqrt(expected * (1 - expected) / 2_000)


def test_points_of_the_new_part_lie_in_it_and_follow_from_seed_and_number() -> None:
    wide = {**lion(WIDER, Range(low=4, high=128)), **PRODIGY}
    part = NewPart(wide, {**LION, **PRODIGY})
    found = [list(islice(part.points(number, 7), 5)) for number in (0, 1)]
    for optimizer, values in [*found[0], *found[1]]:
        assert optimizer == "lion" and part.holds(optimizer, values)
        assert values["learning_rate"] > 1e-3 or values["batch_size"] in (4, 128)
    assert found[0] != found[1]
    assert list(islice(part.points(0, 7), 5)) == found[0] != list(islice(part.points(0, 8), 5))


def test_the_new_part_of_a_finite_space_is_what_was_added() -> None:
    wide = {"prodigy": {"batch_size": Range(low=4, high=128)}}
    assert [values["batch_size"] for _, values in NewPart(wide, PRODIGY).points(0, 0)] == [4, 128]


def test_optimizers_that_have_grown_take_turns() -> None:
    wide = {"a": {"learning_rate": WIDER}, "b": {"learning_rate": RATE}, "c": {"learning_rate": WIDER}}
    part = NewPart(wide, dict.fromkeys(wide, {"learning_rate": RATE}))
    assert [next(part.points(number, 0))[0] for number in range(4)] == ["a", "c", "a", "c"]
