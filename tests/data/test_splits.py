import numpy as np

from tune_qat.data.fingerprint import data_fingerprint, digest, split_fingerprint
from tune_qat.data.splits import held_out, shuffled, stratified_order

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


def test_the_first_samples_are_held_out_and_the_rest_is_limited() -> None:
    order = shuffled(10, 0)
    val, train = held_out(order, 3, {})
    assert val.tolist() == sorted(order[:3]) and train.tolist() == sorted(order[3:])
    assert held_out(order, 3, {"train_limit": 2})[1].tolist() == sorted(order[3:5])
    assert len(held_out(order, 3, {"train_limit": 99})[1]) == 7


class TestRepeats:
    """100 samples of two classes, of which 10 are for validation and 20 are trained on."""

    labels = np.repeat([0, 1], 50)
    order = stratified_order(labels, 0)

    def drawn(self, **options: int) -> tuple[set[int], set[int]]:
        val, train = held_out(self.order, 10, {"train_limit": 20, **options}, self.labels)
        assert val.tolist() == sorted(val) and train.tolist() == sorted(train)
        assert (len(val), len(train)) == (10, 20) and not {*val} & {*train}
        assert self.labels[train].sum() == 10, "subsets hold the classes in their proportions"
        return {*val.tolist()}, {*train.tolist()}

    def test_nothing_changes_where_nothing_is_drawn_anew(self) -> None:
        assert self.drawn(subset_seed=0, val_seed=0) == self.drawn() == ({*self.order[:10]}, {*self.order[10:30]})

    def test_subsets_are_disjoint_as_long_as_they_fit(self) -> None:
        subsets = [self.drawn(subset_seed=number) for number in range(4)]  # 4 x 20 of the 90 that are not validated on
        assert all(val == subsets[0][0] for val, _ in subsets)
        assert len(set.union(*(train for _, train in subsets))) == 80

    def test_later_subsets_overlap_and_differ(self) -> None:
        train = [self.drawn(subset_seed=number)[1] for number in (0, 1, 2, 3, 4, 5)]
        assert train[4] != train[5] and all(train[4] & train[number] for number in range(4))

    def test_validation_is_drawn_anew_from_both_splits(self) -> None:
        (val, train), (other_val, other_train) = self.drawn(), self.drawn(val_seed=1)
        assert other_val != val and other_val | other_train == val | train

    def test_pieces_of_both_splits_are_disjoint(self) -> None:
        pieces = [set.union(*self.drawn(subset_seed=number, val_seed=number)) for number in range(3)]
        assert len(set.union(*pieces)) == 90

    def test_all_samples_are_one_subset(self) -> None:
        assert held_out(self.order, 10, {"subset_seed": 3})[1].tolist() == held_out(self.order, 10, {})[1].tolist()


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
