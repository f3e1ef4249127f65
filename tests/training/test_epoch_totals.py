"""Sums over an epoch's steps."""

import math

import pytest
import torch

from tune_qat.training.epoch_totals import EpochTotals

NAN, INF = math.nan, math.inf


def totals_of(losses: list[float], *, first_step: int = 1, clips: list[float] | None = None) -> EpochTotals:
    totals = EpochTotals(torch.device("cpu"), steps=len(losses), first_step=first_step, clips=clips is not None)
    for step, loss in enumerate(losses):
        clipped = None if clips is None else torch.tensor(clips[step])
        totals.add(torch.tensor(loss), torch.tensor(0.25 * step), torch.tensor(float(step)), clipped)
    return totals


def test_means_and_maximum() -> None:
    columns = totals_of([1.0, 2.0, 6.0, 7.0]).columns()
    assert columns == {
        "train_loss": 4.0,
        "train_metric": 0.375,
        "grad_norm": 1.5,
        "grad_norm_max": 3.0,
        "clip_fraction": None,
        "nonfinite_steps": 0,
        "diverged_at_step": None,
    }


@pytest.mark.parametrize(
    ("clips", "fraction"), [([0.0, 0.0, 0.0, 0.0], 0.0), ([1.0, 0.0, 0.0, 0.0], 0.25), ([1.0, 1.0, 1.0, 1.0], 1.0)]
)
def test_clip_fraction_is_the_share_of_clipped_steps(clips: list[float], fraction: float) -> None:
    assert totals_of([1.0] * 4, clips=clips).columns()["clip_fraction"] == fraction


@pytest.mark.parametrize(
    ("losses", "count", "first"),
    [
        ([NAN, 1.0, 1.0], 1, 11),
        ([1.0, INF, 1.0, NAN], 2, 12),
        ([1.0, 1.0, -INF], 1, 13),
        ([1.0, 1.0, NAN, NAN, NAN], 3, 13),
    ],
)
def test_the_first_step_that_is_not_finite_is_known(losses: list[float], count: int, first: int) -> None:
    totals = totals_of(losses, first_step=11)
    columns = totals.columns()
    assert columns["nonfinite_steps"] == totals.nonfinite_steps == count
    assert columns["diverged_at_step"] == first
    assert columns["train_loss"] is None
    assert not math.isfinite(totals.loss)
    assert columns["train_metric"] is not None and columns["grad_norm_max"] == len(losses) - 1


def test_nan_in_a_gradient_is_a_step_that_is_not_finite() -> None:
    totals = EpochTotals(torch.device("cpu"), steps=3, first_step=1, clips=False)
    for norm in (1.0, float("nan"), 2.0):
        totals.add(torch.tensor(1.0), torch.tensor(0.5), torch.tensor(norm), None)
    assert totals.columns()["nonfinite_steps"] == 1 and totals.columns()["diverged_at_step"] == 2


def test_a_norm_that_overflows_is_unknown_and_no_divergence() -> None:
    totals = EpochTotals(torch.device("cpu"), steps=3, first_step=1, clips=False)
    for norm in (1.0, INF, 2.0):
        totals.add(torch.tensor(1.0), torch.tensor(0.5), torch.tensor(norm), None)
    columns = totals.columns()
    assert columns["grad_norm"] is None and columns["grad_norm_max"] is None
    assert columns["nonfinite_steps"] == 0 and columns["train_loss"] == 1.0


def test_many_small_terms_are_not_lost_beside_a_large_one() -> None:
    # In single precision 1e8 + 1 is 1e8 again, and the mean of these would be 1e5.
    assert totals_of([1e8] + [1.0] * 999).loss == (1e8 + 999) / 1000
