"""Repeats of a study: what is drawn anew in each of them, and the seeds that draw it.

A repeat is the unit of inference: whatever luck decides is drawn anew in each. Start, subset, split and order are the
same for all arms of a repeat, so that differences between arms are paired; the design of a search is each arm's own,
so that a difference holds the luck of both searches (Bouthillier et al., MLSys 2021; docs/statistics.md).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tune_qat.config import SEEDS, stable_hash
from tune_qat.study import sections
from tune_qat.study.mistakes import rule_error

SEEDS_APART = 10_000
"""Distance between the seeds of two repeats: no repeat has that many seeds of its own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Repeat:
    """One repeat: its number in the whole study, from 0, and its seeds."""

    number: int
    trial_seed: int
    """Seed of data order and calibration before `retrain`, whose seeds follow it."""
    init_seed: int
    """Seed of initial weights, where training begins from scratch."""
    start_seed: int
    """Seed of the pretrained start."""
    start: sections.StartSection | None
    """Section of the start, where several alternate."""
    data_options: Mapping[str, int]
    """Options of the dataset that draw its subset and its validation split."""


def repeat_of(
    number: int, *, seed: int, whole: str, varies: Sequence[str] | None, starts: Sequence[sections.StartSection]
) -> Repeat:
    """Draw a repeat.

    Args:
        number: number of the repeat in the whole study, from 0.
        seed: seed of the study.
        whole: name of the whole study.
        varies: what repeats vary; None where the study does not say, as in those begun before it could: design, order.
        starts: starts that alternate.
    """
    if varies is None:
        own = seed + number * SEEDS_APART
        return Repeat(number=number, trial_seed=own, init_seed=own, start_seed=seed, start=None, data_options={})

    def drawn(kind: str) -> int:
        parts = [whole, seed, kind, number if kind in varies else 0]
        return int(stable_hash(parts), 16) % (SEEDS // SEEDS_APART) * SEEDS_APART

    options = {"subset": "subset_seed", "split": "val_seed"}
    return Repeat(
        number=number,
        trial_seed=drawn("order"),
        init_seed=drawn("start"),
        start_seed=drawn("start"),
        start=starts[number % len(starts)] if starts else None,
        # Numbers and no hashes: subsets of consecutive numbers are disjoint.
        data_options={options[kind]: number for kind in varies if kind in options},
    )


def check_repeats(
    part: sections.RepeatSection | None,
    repeats: int,
    *,
    mode: str,
    init: str,
    starts: Sequence[sections.StartSection],
    options: Mapping[str, Any],
    dataset: str,
    known: Mapping[str, Any],
) -> None:
    """Check what repeats vary. `options` are those of the file for the dataset, `known` all that it takes."""
    varies = part.varies if part else []
    if starts and init != "pretrain":
        raise rule_error("pretrain.starts", f'are trained with training.init = "pretrain", but it is "{init}"')
    if starts and "start" not in varies:
        raise rule_error("pretrain.starts", 'alternate over repeats, so that repeat.varies must have "start"')
    if starts and repeats % len(starts):
        rule = f"must be a multiple of the {len(starts)} pretrain.starts, which alternate, but got {repeats}"
        raise rule_error("repeats", rule)
    if part is None:
        return
    if mode == "joint":
        raise rule_error("repeat.varies", 'is for mode = "comparison": one joint search compares no optimizers')
    if set(varies) == {"design"}:
        rule = 'needs "order" beside "design": repeats would train the same default configurations with the same seeds'
        raise rule_error("repeat.varies", rule)
    if "start" in varies and init in ("path", "weights"):
        raise rule_error("repeat.varies", f'"start" needs training.init = "pretrain" or "scratch", but it is "{init}"')
    if part.disjoint and "subset" not in varies:
        raise rule_error("repeat.disjoint", 'is about subsets, so that repeat.varies must have "subset"')
    for kind, option in (("subset", "subset_seed"), ("split", "val_seed")):
        if kind in varies and option not in known:
            raise rule_error("repeat.varies", f'"{kind}": dataset {dataset!r} draws no {kind}')
        if kind in varies and option in options:
            raise rule_error(f"workload.options.{option}", f'is set by repeat.varies, which has "{kind}"')
    if "subset" in varies and not options.get("train_limit"):
        rule = '"subset" needs workload.options.train_limit, the samples of a subset; without it all are trained on'
        raise rule_error("repeat.varies", rule)
