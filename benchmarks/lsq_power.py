"""What the study `lsq_optimizers` can tell: `python -m benchmarks.lsq_power RECORD`, RECORD that of its pilot.

First tau, the standard deviation over searches of what an arm ends with, by resampling the pilot's tuning trials: 16
points drawn with replacement from the arm's own and its default, the best of them by validation data. Then the share
of made-up studies that tell a true difference, in margins, between two optimizers on all boards, with the study's own
test (`analysis.stats.pooled.pool`): at Holm's first level over the primary tests, and for one alone.
"""

import argparse
import sys

import numpy as np
import pandas as pd
from scipy.special import stdtr

import analysis
from analysis.stats.pooled import pool

PRIMARY_TESTS = 15
"""Seven optimizers against Adam at 4/4, their seven changes from 32/32, and the step sizes' optimizer."""
ALPHA = 0.05
RESAMPLES, STUDIES = 2_000, 2_000
EFFECTS = (0.5, 1.0, 1.5, 2.0, 3.0)
REPEATS = (4, 6)
CANDIDATES = """
SELECT a.study_id, a.model || '-' || a.dataset AS workload, a.margin, a.weight_bits, t.optimizer, t.stage,
       CASE WHEN t.status = 'completed' AND t.learned THEN t.val_metric ELSE a.trivial_score END AS score
FROM trials t JOIN arms a USING (study_id, arm_id)
WHERE t.stage IN ('default', 'random') AND t.status NOT IN ('running') AND a.control IS NULL
  AND coalesce(a.step_optimizer, 'own') = 'own'
"""


def tau(scores: pd.DataFrame, draw: np.random.Generator) -> float:
    """Compute the sd over resampled searches of the best score of an arm; `scores` has its `stage` and `score`."""
    points = scores.loc[scores.stage == "random", "score"].to_numpy()
    default = scores.loc[scores.stage == "default", "score"].to_numpy()
    chosen = draw.choice(points, (RESAMPLES, len(points))).max(axis=1)
    return float(np.maximum(chosen, default.max(initial=-np.inf)).std(ddof=1))


def taus(candidates: pd.DataFrame) -> pd.DataFrame:
    """Return tau of every arm in margins: a row for each board and bits, a column for each optimizer."""
    draw = np.random.default_rng(0)
    rows = [
        {**dict(zip(("study_id", "workload", "weight_bits", "optimizer"), key, strict=True)), "tau": tau(arm, draw)}
        for key, arm in candidates.assign(score=candidates.score / candidates.margin).groupby(
            ["study_id", "workload", "weight_bits", "optimizer"]
        )
    ]
    return pd.DataFrame(rows).pivot(index=["study_id", "workload", "weight_bits"], columns="optimizer", values="tau")


def p_values(spreads: dict[str, list[float]], effect: float, repeats: int, draw: np.random.Generator) -> np.ndarray:
    """Simulate studies; the p value of each.

    Args:
        spreads: for each workload the sd, in margins, of a paired difference on each of its boards.
        effect: the true difference on every board, in margins.
        repeats: repeats of the search.
        draw: random numbers.
    """
    found = [
        pool({name: [effect + sd * draw.standard_normal(repeats) for sd in boards] for name, boards in spreads.items()})
        for _ in range(STUDIES)
    ]
    return np.array([2 * stdtr(one.df, -abs(one.difference) / one.error) for one in found])


def power(table: pd.DataFrame, bits: int) -> pd.DataFrame:
    """Return the shares of studies that tell an effect: a row for each number of repeats and each effect."""
    draw = np.random.default_rng(1)
    # Two arms, each with the tau of a typical optimizer of its board.
    at_bits = table.xs(bits, level="weight_bits").median(axis=1) * np.sqrt(2)
    spreads = {str(name): boards.tolist() for name, boards in at_bits.groupby(level="workload")}
    rows = []
    for repeats in REPEATS:
        for effect in EFFECTS:
            p = p_values(spreads, effect, repeats, draw)
            told = {"Holm's first level": (p <= ALPHA / PRIMARY_TESTS).mean(), "one test": (p <= ALPHA).mean()}
            rows.append({"repeats": repeats, "difference in margins": effect, **told})
    return pd.DataFrame(rows)


def main() -> int:
    """Print tau of all boards and the power at 4/4."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("record", help="results folder of the pilot")
    candidates = analysis.frame(parser.parse_args().record, CANDIDATES)
    table = taus(candidates)
    print("tau, in margins:\n", table.assign(median=table.median(axis=1)).round(2).to_string(), sep="")
    print("\nshare of studies that tell it, at 4/4:\n", power(table, 4).round(2).to_string(index=False), sep="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
