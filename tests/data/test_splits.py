import numpy as np

from tune_qat.data.fingerprint import data_fingerprint, digest, split_fingerprint
from tune_qat.data.splits import cut, shuffled, stratified_order

LABELS = np.repeat(np.arange(4), [400, 200, 100, 20])


def test_every_prefix_of_a_stratified_order_holds_the_classes_in_proportion() -> None:
    order = stratified_order(LABELS, seed=3)
    assert sorted(order) == list(range(len(LABELS)))
    share = np.bincount(LABELS) / len(LABELS)
    for n in (36, 100, 360, 700):
        counts = np.bincount(LABELS[order[:n]], minlength=4)
        assert np.abs(counts - n * share).max() <= 1, n  # (rank + 1/2) / size rounds each class to the nearest number
    assert 3 not in LABELS[order[:12]], "a third of a sample is none"


def test_stratified_order_is_shuffled_by_its_seed() -> None:
    first, second = stratified_order(LABELS, 0), stratified_order(LABELS, 1)
    assert not np.array_equal(first, second)
    assert np.array_equal(first, stratified_order(LABELS, 0))
    in_first_class = first[LABELS[first] == 0]
    assert not np.array_equal(in_first_class, np.sort(in_first_class))


def test_orders_are_those_of_every_version() -> None:
    # Recorded: a change of these numbers changes the splits of every study on record.
    assert shuffled(8, 0).tolist() == RECORDED_SHUFFLE
    assert stratified_order(np.array([0, 0, 0, 1, 1, 1]), 0).tolist() == RECORDED_STRATIFIED


RECORDED_SHUFFLE: list[int] = [1, 4, 2, 7, 5, 6, 0, 3]
RECORDED_STRATIFIED: list[int] = [1, 4, 2, 5, 0, 3]


def test_cut_gives_sorted_disjoint_pieces_and_limits_the_rest() -> None:
    order = shuffled(10, 0)
    val, test, train = cut(order, 2, 3)
    assert [len(piece) for piece in (val, test, train)] == [2, 3, 5]
    assert sorted([*val, *test, *train]) == list(range(10))
    assert set(val) == set(order[:2])
    assert set(cut(order, 2, 3, limit=2)[-1]) == set(order[5:7])
    assert len(cut(order, 2, 3, limit=99)[-1]) == 5


def test_split_fingerprint_is_of_the_membership_alone() -> None:
    one = split_fingerprint({"train": [3, 1], "val": [2]})
    assert one == split_fingerprint({"val": [2], "train": [1, 3]})
    assert one != split_fingerprint({"train": [3, 2], "val": [1]})
    assert one != split_fingerprint({"train": [3, 1, 2], "val": []})


def test_data_fingerprint_follows_content_and_shaping_options() -> None:
    options = {"scale": 3, "split_seed": 0, "patch_size": 17, "patches_per_image": 16}
    one = data_fingerprint("a", options, "content")
    assert one == data_fingerprint(
        "a", {**options, "split_seed": 5, "patch_size": 9, "patches_per_image": 1}, "content"
    )
    assert one != data_fingerprint("a", {**options, "scale": 2}, "content")
    assert one != data_fingerprint("b", options, "content")
    assert one != data_fingerprint("a", options, "other")


def test_digest_sees_values_shape_and_type() -> None:
    array = np.arange(6, dtype=np.uint8)
    different = [array[::-1], array.reshape(2, 3), array.astype(np.int8)]
    assert len({digest(other) for other in [array, *different]}) == 4
    assert digest(array) == digest(array.copy())
    assert digest(array.reshape(2, 3).T) == digest(np.ascontiguousarray(array.reshape(2, 3).T))
