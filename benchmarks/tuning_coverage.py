"""How often do the intervals of tuning and of aggregates cover the truth, in simulated studies?

python -m benchmarks.tuning_coverage [--studies 2000]

Bands of tuning curves, intervals of the exponent of best learning rate against batch size, of interquartile means and
of probabilities of improvement. A line each: what was simulated, how large, and the share of studies that covered.
"""

import argparse
from collections.abc import Callable, Iterator
from unittest.mock import patch

import numpy as np
from scipy import stats

from analysis.stats import intervals
from analysis.stats.aggregates import improvements, iqms
from analysis.stats.batch_scaling import rate_exponent
from analysis.stats.intervals import Numbers, bootstrap_interval
from analysis.stats.tuning_budget import median_band

WORKLOADS = 2
DIVERGED = 0.1

Generator = np.random.Generator
Study = Callable[[Generator], bool | None]
"""Whether the interval of one simulated study covers; None where it has none."""


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2000)
    studies = parser.parse_args().studies
    for name, study in simulations():
        generator = np.random.default_rng(0)
        covered = [found for _ in range(studies) if (found := study(generator)) is not None]
        error = np.std(covered) / np.sqrt(max(len(covered), 1))
        print(f"{name:70} {100 * np.mean(covered):5.1f} % +- {100 * error:.1f}   of {len(covered)}", flush=True)


def simulations() -> Iterator[tuple[str, Study]]:
    """What is simulated, with its name."""
    for n in (8, 16, 32, 64, 100):
        yield f"tuning band, {n} random trials", lambda g, n=n: band(g, n, 0.0)
        yield f"tuning band, {n} random trials, four in ten diverged", lambda g, n=n: band(g, n, 0.4)
    for sizes in (4, 5):
        for n in (5, 8, 16, 32):
            name = f"exponent, {sizes} batch sizes of {n} trials"
            yield name, lambda g, sizes=sizes, n=n: exponent(g, sizes, n, noise=0.02)
    for runs in (3, 5, 10, 20):
        yield f"interquartile mean, {runs} runs a workload", lambda g, runs=runs: mean_of_middle(g, runs, 0.0)
        name = f"interquartile mean, {runs} runs a workload, a tenth diverged"
        yield name, lambda g, runs=runs: mean_of_middle(g, runs, DIVERGED)
        yield f"probability of improvement, {runs} runs a workload", lambda g, runs=runs: improvement(g, runs)


def band(generator: Generator, n: int, diverged: float) -> bool:
    """Whether a band covers its whole curve: uniform scores, of which the lowest are one trivial score."""
    ks = np.arange(1, n + 1)
    scores, truth = np.maximum(generator.random(n), diverged), np.maximum(0.5 ** (1 / ks), diverged)
    _, worse, better = median_band(scores, ks, 0.0, 1.0)
    return bool(((worse <= truth) & (truth <= better)).all())


def exponent(generator: Generator, sizes: int, n: int, noise: float, truth: float = 0.5) -> bool:
    """Random trials at powers of two, scores a parabola over log rate whose top moves with the batch size.

    A decade above its top a rate loses 0.05, and scores scatter by `noise`.
    """
    batch_sizes = np.repeat(2.0 ** np.arange(5, 5 + sizes), n)
    log_rates = generator.uniform(-5, -1, sizes * n)
    top = -3 + truth * np.log10(batch_sizes / 2 ** (5 + sizes / 2))
    objectives = 1 - 0.05 * (log_rates - top) ** 2 + noise * generator.normal(size=sizes * n)
    found = rate_exponent(batch_sizes, 10**log_rates, objectives, seed=int(generator.integers(2**31)))
    return bool(found.ci_low <= truth <= found.ci_high)


def mean_of_middle(generator: Generator, runs: int, diverged: float) -> bool | None:
    """Normal runs of two workloads; of the diverged ones, 0."""
    blocks = [_runs(generator, runs, diverged) for _ in range(WORKLOADS)]
    truth = _truth(diverged)
    return _covers(blocks, iqms, truth, generator)


def improvement(generator: Generator, runs: int, lead: float = 0.5) -> bool | None:
    """Normal runs of two optimizers on two workloads, half a standard deviation apart."""
    blocks = [generator.normal(lead * (i % 2 == 0), 1.0, runs) for i in range(2 * WORKLOADS)]
    return _covers(blocks, improvements, float(stats.norm.cdf(lead / np.sqrt(2))), generator)


def _covers(blocks: list[Numbers], statistic: intervals.Statistic, truth: float, generator: Generator) -> bool | None:
    # Below ten runs there is no interval; here, to see why.
    with patch.object(intervals, "FEWEST_RUNS", 0):
        found = bootstrap_interval([list(block) for block in blocks], statistic, seed=int(generator.integers(2**31)))
    return None if found is None else found[0] <= truth <= found[1]


def _runs(generator: Generator, runs: int, diverged: float) -> Numbers:
    return np.where(generator.random(runs) < diverged, 0.0, generator.normal(1.0, 0.05, runs))


def _truth(diverged: float) -> float:
    """Mean of a normal distribution between the quantiles that a quarter of all runs lies beyond."""
    # A diverged run is below all others: of the others, these shares are cut off at the lower and the upper end.
    low, high = stats.norm.ppf([(0.25 - diverged) / (1 - diverged), 1 - 0.25 / (1 - diverged)])
    return 1.0 + 0.05 * float(
        (stats.norm.pdf(low) - stats.norm.pdf(high)) / (stats.norm.cdf(high) - stats.norm.cdf(low))
    )


if __name__ == "__main__":
    main()
