"""Spread over repeats, and the chance that one optimizer beats another: what another search would have changed."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd

from analysis.answers import Answers, Results, answers
from analysis.stats.boards import BOARD, compared
from analysis.stats.comparisons import fixed, references
from analysis.stats.intervals import Numbers, clopper_pearson, percentile
from analysis.stats.reml import spread
from analysis.stats.retrained import Board, boards, by_board, chosen_pairs

TAUS = [*BOARD, "optimizer", "other", "tau", "ci_low", "ci_high", "sigma", "repeats", "seeds", "why", "metric", "unit"]
CHANCES = [
    *BOARD,
    *("optimizer", "other", "probability", "ci_low", "ci_high", "won", "tied", "n", "counts", "interval"),
]
EXACT, BOOTSTRAP = "exact (Clopper and Pearson)", "bootstrap over pairs"
FOR_BOOTSTRAP = 20
"""Fewest pairs for a bootstrap interval; with fewer, the exact one of the count."""
RESAMPLES = 2000


def spread_over_repeats(results: "Results | Answers") -> pd.DataFrame:
    """Compute `tau`, the standard deviation over repeats of the difference of two optimizers, without that of seeds.

    By restricted maximum likelihood (`reml.spread`) from the differences of each seed in each of the `repeats`, with
    the 95 % interval of its profile likelihood; `sigma` is the standard deviation over seeds of one repeat, `seeds` the
    number of differences. For the pairs that are compared, on boards with several repeats. `why` is the reason where
    there is no number. A pair with failed or collapsed trials has their trivial scores in it.
    """
    asked = answers(results)
    scores = compared(asked.frame("retrain_scores"))
    rows, reference, runs = [], references(asked), by_board(scores)
    for board in boards(scores):
        if board.unit == "repeat":
            values = runs[board.key].pivot_table(index=["repeat", "seed"], columns="optimizer", values="score")
            for a, b in _names(board, reference.get(board.key[0], reference.get(board.whole))):
                difference = (values[a] - values[b]).dropna()
                repeats = [list(seeds) for _, seeds in difference.groupby(level="repeat")]
                found = {"optimizer": a, "other": b, **spread(repeats)._asdict()}
                rows.append({**board.columns, **found, "repeats": len(repeats), "seeds": len(difference)})
    return pd.DataFrame(rows, columns=TAUS)


def chances(results: "Results | Answers") -> pd.DataFrame:
    """Compute P(A > B): the share of repeats, or seeds where there is one repeat, in which one optimizer is better.

    `probability` is (`won` + `tied` / 2) / `n`, of the optimizer with the larger share first. Its 95 % interval is the
    exact one of the count (`interval` says which), ties being lost at its lower end and won at its upper one; from 20
    pairs on that of a bootstrap over pairs, unless all are alike. After Bouthillier et al., "Accounting for variance in
    machine learning benchmarks", MLSys 2021. A failed or collapsed run counts as the trivial score, and so loses: this
    needs no mean, and holds also where scores lie on two humps.
    """
    asked = answers(results)
    reference, rows = references(asked), []
    for board in boards(asked.frame("retrain_scores")):
        for first, second in zip(*chosen_pairs(board.optimizers, fixed(reference, board)), strict=True):
            difference = board.oriented[:, first] - board.oriented[:, second]
            difference = difference[~np.isnan(difference)]
            signs = np.sign(np.where(np.abs(difference) <= board.rounding, 0, difference))
            if not len(signs):
                continue
            a, b = (first, second) if signs.sum() >= 0 else (second, first)
            found = chance(signs if signs.sum() >= 0 else -signs)
            names = {"optimizer": board.optimizers[a], "other": board.optimizers[b]}
            rows.append({**board.columns, **names, **found, "counts": f"{board.unit}s"})
    return pd.DataFrame(rows, columns=CHANCES)


def chance(signs: Numbers, seed: int = 0) -> dict[str, Any]:
    """Compute P(A > B) with its interval from the sign of each difference: 1 won, 0 tied, -1 lost."""
    n, won, tied = len(signs), int((signs > 0).sum()), int((signs == 0).sum())
    low, high = (clopper_pearson(count, n) for count in (won, won + tied))
    assert low and high  # n is above 0
    ends, how = (low[0], high[1]), EXACT
    if n >= FOR_BOOTSTRAP and 0 < won + tied / 2 < n:
        drawn = np.random.default_rng(seed).choice(signs, (RESAMPLES, n))
        ends, how = percentile((drawn.mean(axis=1) + 1) / 2), BOOTSTRAP
    found = {"probability": (won + tied / 2) / n, "ci_low": ends[0], "ci_high": ends[1]}
    return {**found, "won": won, "tied": tied, "n": n, "interval": how}


def _names(board: Board, reference: str | None) -> Iterator[tuple[str, str]]:
    for first, second in zip(*chosen_pairs(board.optimizers, reference), strict=True):
        yield board.optimizers[first], board.optimizers[second]
