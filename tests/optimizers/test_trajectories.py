"""Every optimizer beyond the ten against an independent library, or the paper's formulas where there is none."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from tests.optimizers.trajectories import SQUARE, Groups, assert_same_walk, of_table, walk
from tests.references import optimizers as reference


class Plain:
    """A reference's rule for each parameter, used as an optimizer."""

    def __init__(self, groups: Groups, rule: type[reference.Rule]) -> None:
        self.param_groups = groups
        self._rules: dict[int, reference.Rule] = {
            id(p): rule(tuple(p.shape), weight_decay=group["weight_decay"]) for group in groups for p in group["params"]
        }

    def step(self) -> None:
        for group in self.param_groups:
            for point in group["params"]:
                moved = self._rules[id(point)].step(point.detach().numpy(), point.grad.numpy(), group["lr"])
                point.data.copy_(torch.from_numpy(np.asarray(moved)))


def timm(module: str, name: str, **options: Any) -> Callable[[Groups], torch.optim.Optimizer]:
    library = getattr(__import__(f"timm.optim.{module}", fromlist=[name]), name)
    return lambda groups: library(groups, **options)


def pytorch_optimizer(name: str, **options: Any) -> Callable[[Groups], torch.optim.Optimizer]:
    import pytorch_optimizer as library

    return lambda groups: getattr(library, name)(groups, **options)


def plain(rule: type[reference.Rule]) -> Callable[[Groups], Any]:
    return lambda groups: Plain(groups, rule)


EXACT = 1e-12
"""Rounding of 20 steps in double precision."""


@pytest.mark.parametrize(
    ("name", "rate", "other", "atol"),
    [
        ("adan", 1e-2, timm("adan", "Adan"), EXACT),
        ("adopt", 1e-2, timm("adopt", "Adopt", clip_exp=0.25), EXACT),
        # eps beside sqrt(v) or beside its corrected value: 1e-8 of gradients of order 1, at the first steps more.
        ("nadam", 1e-2, timm("nadam", "NAdamLegacy"), 1e-8),
        ("lamb", 1e-2, timm("lamb", "Lamb", always_adapt=True, max_grad_norm=None), EXACT),
        ("schedule_free_sgd", 0.3, pytorch_optimizer("ScheduleFreeSGD"), EXACT),
        # eps is added before or after the correction of the second moment.
        ("schedule_free_adamw", 1e-2, pytorch_optimizer("ScheduleFreeAdamW"), 1e-10),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_equals_another_library(name: str, rate: float, other: Any, atol: float) -> None:
    assert_same_walk(walk(of_table(name, rate), rate), walk(other, rate), rtol=0, atol=atol)


def test_prodigy_equals_another_library() -> None:
    # With a coefficient at which 20 steps move it by more than a hundredth; the libraries add eps in other places.
    ours = walk(of_table("prodigy", 1.0, d_coef=10.0), 1.0, warmup=1)
    theirs = walk(pytorch_optimizer("Prodigy", d_coef=10.0), 1.0, warmup=1)
    assert_same_walk(ours, theirs, rtol=0, atol=1e-5)
    assert (ours[-1] - ours[0]).abs().max() > 1e-2


@pytest.mark.parametrize(
    ("name", "rate", "rule", "atol"),
    [
        ("radam", 1e-2, reference.RAdam, EXACT),
        ("ademamix", 1e-2, reference.AdEMAMix, EXACT),
        ("lamb", 1e-2, reference.Lamb, EXACT),
        ("mars", 1e-2, reference.Mars, EXACT),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_equals_the_papers_formulas(name: str, rate: float, rule: type[reference.Rule], atol: float) -> None:
    assert_same_walk(walk(of_table(name, rate), rate), walk(plain(rule), rate), rtol=0, atol=atol)


def test_soap_equals_the_papers_formulas() -> None:
    # Square, for the first gradient has to span both sides: in what it leaves out, every basis is as good.
    ours, theirs = (walk(build, 1e-2, matrices=SQUARE) for build in (of_table("soap", 1e-2), plain(reference.Soap)))
    # The library's QR decomposition is in float32.
    assert_same_walk(ours, theirs, rtol=0, atol=1e-6)
