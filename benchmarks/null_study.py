"""Whether studies of ten equal optimizers claim a difference, by the number of repeats of their search.

python -m benchmarks.null_study [--studies N] [--pages N]

The searches are real (`benchmarks.null_searches`) and all of one optimizer; a study draws as many groups as it has
repeats, ten searches of each, and reads them as ten arms: in a group they share start, data and order, and each has a
design of its own, as in a study. A false claim is any pair of which `comparisons` says that one is better. From three
repeats on the sentences of the page are read, too (`benchmarks.null_pages`), of some of these studies, each with a
32/32 board of searches of other groups. Coverage is that of an arm's interval over repeats, of the mean of all
searches. Two seeds for each search, as a study for a claim has them; one search is read with ten as well, as
published comparisons are.
"""

import argparse
import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import pandas as pd

from analysis.stats.comparisons import compare
from analysis.stats.scope import FEWEST_REPEATS
from analysis.stats.standings import stand
from benchmarks.null_pages import Said, pages, shares
from benchmarks.null_searches import SEARCHES

Numbers = npt.NDArray[np.floating]
ARMS = 10
SEEDS = 2
BAR = 0.05
DESIGNS = ((1, 10), (1, SEEDS), (2, SEEDS), (3, SEEDS), (4, SEEDS), (6, SEEDS))
"""Repeats, and retrain seeds of each search."""
AT_ONCE = 200
FACTS = {"mode": "comparison", "workload": "lenet5-digits", "method": "lsq", "weight_bits": 4, "activation_bits": 4}
FACTS |= {"metric": "accuracy", "unit": "fraction", "sign": 1, "margin": 0.003, "trivial": 0.1, "failed": False}
FACTS |= {"collapsed": False, "copied": False, "whole": None, "init": "pretrain", "start_name": None}
FACTS |= {"control": None, "control_for": None}


class Row(NamedTuple):
    """Result of the null studies of one design."""

    repeats: int
    seeds: int
    false: float
    """Share of studies with a false claim."""
    pairs: float
    """Mean number of pairs of 45 that are claimed."""
    covered: float
    """Share of arms whose interval holds the mean of all searches."""


def searches() -> Numbers:
    """Read the test metrics of the recorded searches: (groups, copies, seeds)."""
    rows = pd.read_csv(SEARCHES).sort_values(["group", "copy", "seed"], kind="stable")
    shape = rows["group"].nunique(), rows["copy"].nunique(), -1
    return rows["test_metric"].to_numpy(float).reshape(shape)


def studies(pool: Numbers, repeats: int, seeds: int, count: int, rng: np.random.Generator) -> Iterator[pd.DataFrame]:
    """Yield rows as those of `retrain_scores`, of some studies at a time.

    Groups are drawn with replacement, so that the mean of all searches is the truth that intervals are to hold; the
    copies of a group, which are its arms, without.
    """
    for first in range(0, count, AT_ONCE):
        drawn = np.empty((min(AT_ONCE, count - first), ARMS, repeats, seeds))
        for study in drawn:
            for number, group in enumerate(rng.integers(len(pool), size=repeats)):
                copies = rng.permutation(pool.shape[1])[:ARMS]
                study[:, number] = pool[group, copies][:, rng.permutation(pool.shape[2])[:seeds]]
        study, arm, repeat, seed = (index.ravel() for index in np.indices(drawn.shape))
        names = np.array([f"copy {number}" for number in range(ARMS)], dtype=object)
        of_study = np.array([f"study {first + number}" for number in range(len(drawn))], dtype=object)[study]
        rows = {"study_id": of_study, "optimizer": names[arm], "repeat": repeat, "seed": 100 * repeat + seed}
        yield pd.DataFrame({**rows, "score": drawn.ravel(), **FACTS})


def result(pool: Numbers, repeats: int, seeds: int, count: int) -> Row:
    """Read the null studies of one design."""
    rng, truth = np.random.default_rng([repeats, seeds]), float(pool.mean())
    claimed, covered = list[int](), list[float]()
    for scores in studies(pool, repeats, seeds, count, rng):
        pairs = compare(scores, {})
        claimed += pairs.groupby("study_id")["better"].sum().tolist()
        arms = stand(scores, pairs).dropna(subset=["ci_low"])
        covered += ((arms["ci_low"] <= truth) & (truth <= arms["ci_high"])).tolist()
    return Row(repeats, seeds, float(np.mean(np.array(claimed) > 0)), float(np.mean(claimed)), float(np.mean(covered)))


def said(pool: Numbers, repeats: int, seeds: int, count: int) -> Said:
    """Word the null studies of one design as the page does; the first ones are those of `result`."""
    quantized = studies(pool, repeats, seeds, count, np.random.default_rng([repeats, seeds]))
    control = studies(pool, repeats, seeds, count, np.random.default_rng([repeats, seeds, 32]))
    return shares([one for both in zip(quantized, control, strict=True) for one in pages(*both)])


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    given.add_argument("--studies", type=int, default=2_000)
    given.add_argument("--pages", type=int, default=400)
    asked = given.parse_args()
    count = asked.studies
    pool = searches()
    within, between = pool.mean(2).std(axis=1, ddof=1), pool.mean((1, 2)).std(ddof=1)
    print(f"{pool.shape[0]} groups of {pool.shape[1]} searches: mean {pool.mean():.4f}, sd of the searches of a group")
    print(f"{math.sqrt(float((within**2).mean())):.4f}, of groups {between:.4f}; {count:,} studies of each design")
    bar = BAR + 2 * math.sqrt(BAR * (1 - BAR) / count)
    print(f"repeats   seeds   studies with a false claim   false pairs of 45   coverage   bar {bar:.3f}")
    for repeats, seeds in DESIGNS:
        row = result(pool, repeats, seeds, count)
        met = "met" if row.false <= bar else "missed"
        print(f"{repeats:7} {seeds:7} {row.false:28.3f} {row.pairs:19.2f} {row.covered:10.3f}   {met}", flush=True)
    print(
        f"Sentences of {asked.pages:,} studies that assert a difference: on the ranking at 4/4, on the change, on any"
    )
    for repeats, seeds in DESIGNS:
        if repeats >= FEWEST_REPEATS:
            found = said(pool, repeats, seeds, asked.pages)
            errors = (f"{share:.3f} +- {math.sqrt(share * (1 - share) / asked.pages):.3f}" for share in found)
            print(f"{repeats:7} {seeds:7} {'   '.join(errors)}", flush=True)


if __name__ == "__main__":
    main()
