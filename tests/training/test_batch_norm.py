"""Batch-norm statistics estimated anew: torch's own way of doing so, and what a trial makes of it."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import update_bn

from tests.helpers.trials import (
    FLOAT,
    assert_same_curve,
    assert_same_state,
    results_of,
    resumed_every_epoch,
    steps_trained,
    tiny_trial,
    training_of,
)
from tests.training.test_loop import dropping
from tune_qat.config import UsageError
from tune_qat.data.classification import Classification
from tune_qat.training.batch_norm import check_values, norms, reestimate

NORMED: dict[str, Any] = {"model": "lenet5_bn"}


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 5), nn.BatchNorm1d(5)
    )


def batches(count: int = 7, size: int = 8) -> list[torch.Tensor]:
    draw = torch.Generator().manual_seed(1)
    return [3 * torch.randn(size, 2, 6, 6, generator=draw) + number for number in range(count)]


class TestStatistics:
    def test_are_those_of_torch(self) -> None:
        ours, theirs = network(), network()
        reestimate(ours, batches())
        update_bn(batches(), theirs)
        assert_same_state(ours, theirs)
        assert not torch.equal(ours[1].running_mean, torch.zeros(4))  # type: ignore[arg-type]

    def test_are_means_over_batches_of_the_mean_and_the_unbiased_variance(self) -> None:
        model, expected = network(), []
        reestimate(model, batches())
        for batch in batches():
            value = model[0](batch).detach().double().transpose(0, 1).flatten(1)
            expected.append(torch.stack([value.mean(1), value.var(1, correction=1)]))
        (norm, _) = norms(model)
        assert norm.running_mean is not None and norm.running_var is not None
        found = torch.stack([norm.running_mean, norm.running_var]).double()
        torch.testing.assert_close(found, torch.stack(expected).mean(0), rtol=1e-5, atol=1e-6)  # float32 means

    def test_nothing_else_changes_and_nothing_is_drawn(self) -> None:
        model = nn.Sequential(network(), nn.Dropout(0.5))
        norm = norms(model)[0]
        norm.momentum = 0.3
        before, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
        reestimate(model.train(), batches())
        assert torch.equal(random, torch.get_rng_state()), "dropout was off"
        for name, value in model.state_dict().items():
            assert torch.equal(value, before[name]) == (not name.endswith(("mean", "var", "tracked"))), name
        assert norm.momentum == 0.3 and not any(module.training for module in model.modules())
        assert all(parameter.grad is None for parameter in model.parameters())

    def test_norms_without_statistics_are_none(self) -> None:
        assert norms(nn.Sequential(nn.BatchNorm2d(3, track_running_stats=False), nn.LayerNorm(3))) == []


class TestTrial:
    def test_training_is_what_it_was_and_the_metric_before_is_recorded(self) -> None:
        plain, other = (results_of(tiny_trial(**NORMED, epochs=4, bn_reestimation_batches=n)) for n in (0, 4))
        for ours, theirs in zip(plain, other, strict=True):
            assert (ours.train_loss, ours.grad_norm) == (theirs.train_loss, theirs.grad_norm)
            assert ours.val_metric_pre_bn is None and theirs.val_metric_pre_bn is not None
        # Running statistics had the same history up to the first evaluation.
        assert other[0].val_metric_pre_bn == plain[0].val_metric
        # After six steps they have forgotten half of their start (0.9^6): the new ones are better.
        assert (other[0].val_loss or 0) < (plain[0].val_loss or 0)

    def test_the_metric_after_is_that_of_the_new_statistics_on_both_splits(self) -> None:
        training = training_of(tiny_trial(**NORMED, epochs=1, bn_reestimation_batches=3))
        (result,) = training.epochs(test=True)
        training.model.eval()
        with torch.no_grad():
            for split, found in (("val", result.val_metric), ("test", result.test_metric)):
                assert training.task.evaluate(training.model, split).metric == found
        used = copy.deepcopy(training.model)
        reestimate(used, [training.task.batch(0, 1, index)[0] for index in training._order(1, of=1)[:48].split(16)])
        assert_same_state(used, training.model)

    def test_batches_are_of_training_data_in_an_order_of_their_own(self) -> None:
        training = training_of(tiny_trial(**NORMED, bn_reestimation_batches=50))
        seen = steps_trained(training)
        list(training.epochs())
        parts = [seen[start : start + 6] for start in range(0, 24, 6)]  # more batches than there are: all there are
        assert len(seen) == 24 and all(sorted(sum(part, [])) == list(range(96)) for part in parts)
        assert len({str(part) for part in parts}) == 4
        again = training_of(tiny_trial(**NORMED, bn_reestimation_batches=50))
        repeated = steps_trained(again)
        list(again.epochs())
        assert repeated == seen

    def test_goes_on_bit_for_bit(self, tmp_path: Path) -> None:
        config = tiny_trial(epochs=3, bn_reestimation_batches=2)
        results, training = resumed_every_epoch(config, tmp_path, work=dropping())
        whole = training_of(config, work=dropping())
        assert_same_curve(results, list(whole.epochs()))
        assert_same_state(training.model, whole.model)

    @pytest.mark.parametrize("scheme", [tiny_trial().scheme, FLOAT], ids=["w4a4", "float"])
    def test_a_model_without_batch_norm_is_left_alone(self, scheme: Any) -> None:
        plain, other = (results_of(tiny_trial(scheme=scheme, bn_reestimation_batches=n)) for n in (0, 4))
        assert_same_curve(plain, other)
        assert other[-1].val_metric_pre_bn is None

    def test_is_no_training_time(self, monkeypatch: pytest.MonkeyPatch) -> None:
        training = training_of(tiny_trial(**NORMED, bn_reestimation_batches=2))
        clocks: list[float] = []
        monkeypatch.setattr(training, "_norm_batches", lambda: clocks.append(training.wall_s) or [])  # type: ignore[func-returns-value]
        result = next(training.epochs())
        assert clocks == [result.wall_s], "the clock had stopped"

    def test_a_number_below_zero_is_refused(self) -> None:
        with pytest.raises(UsageError, match="bn_reestimation_batches must be at least 0"):
            tiny_trial(bn_reestimation_batches=-1)


class TestOneValue:
    """Batches so small that a channel has one value, of which torch takes no variance."""

    @pytest.mark.parametrize(
        ("layers", "named"),
        [
            ([nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4)], None),  # 4 x 4 values
            ([nn.Conv2d(2, 4, 6), nn.BatchNorm2d(4)], "1"),  # 1 x 1
            ([nn.Flatten(), nn.Linear(72, 5), nn.BatchNorm1d(5)], "2"),
            ([nn.Conv2d(2, 4, 6), nn.GroupNorm(1, 4)], None),
            ([nn.Flatten(), nn.Linear(72, 5), nn.LayerNorm(5)], None),
        ],
    )
    def test_is_found_by_running_the_model(self, layers: list[nn.Module], named: str | None) -> None:
        model = nn.Sequential(*layers)
        (one,) = batches(1, 1)
        if named is None:
            check_values(model, one, training=True)
            model.train()(one)
        else:
            with pytest.raises(
                UsageError, match=f"Layer '{named}' is trained on one value per channel in a batch of 1"
            ):
                check_values(model, one, training=True)
            with pytest.raises(ValueError, match="more than 1 value per channel"):
                model.train()(one)
        check_values(model, batches(1, 2)[0], training=True)
        check_values(model, one, training=False)

    def test_is_a_mistake_of_a_norm_without_statistics_in_evaluation_too(self) -> None:
        model = nn.Sequential(nn.Flatten(), nn.Linear(72, 5), nn.BatchNorm1d(5, track_running_stats=False))
        with pytest.raises(UsageError, match="Layer '2' is evaluated, which it keeps no statistics for, on one value"):
            check_values(model, batches(1, 1)[0], training=False)
        check_values(model, batches(1, 2)[0], training=False)

    def test_leaves_the_model_and_the_random_numbers_alone(self) -> None:
        model = nn.Sequential(network(), nn.Dropout(0.5)).eval()
        before, random = copy.deepcopy(model.state_dict()), torch.get_rng_state()
        check_values(model, batches(1, 2)[0], training=True)
        assert torch.equal(random, torch.get_rng_state())
        assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
        assert not any(module.training for module in model.modules())
        assert not any(module._forward_pre_hooks for module in model.modules())

    def test_another_mistake_of_a_model_is_its_own(self) -> None:
        with pytest.raises(RuntimeError):
            check_values(network(), torch.zeros(1, 3, 6, 6), training=True)

    def test_a_trial_says_so_before_it_trains(self) -> None:
        with pytest.raises(UsageError, match="Layer 'norm3' is trained on one value per channel in a batch of 1"):
            training_of(tiny_trial(**NORMED, batch_size=1))
        assert training_of(tiny_trial(batch_size=1)).status == "running", "a model without batch norm"

    def test_the_last_batch_of_an_evaluation_may_have_one_image(self, monkeypatch: pytest.MonkeyPatch) -> None:
        training = training_of(tiny_trial(**NORMED, epochs=1, bn_reestimation_batches=1))
        list(training.epochs())
        training.model.eval()
        whole = training.task.evaluate(training.model, "val")
        sizes: list[int] = []

        def counting(images: torch.Tensor) -> torch.Tensor:
            sizes.append(len(images))
            return training.model(images)

        monkeypatch.setattr(Classification, "evaluation_batch", whole.n - 1)
        with torch.no_grad():
            parts = training.task.evaluate(counting, "val")
        assert sizes == [whole.n - 1, 1]
        assert (parts.metric, parts.n, parts.correct) == (whole.metric, whole.n, whole.correct)
        assert parts.loss == pytest.approx(whole.loss, rel=1e-5)  # float32 sums
