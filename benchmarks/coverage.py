"""Whether the intervals and tests of a study keep what they say, on made-up studies: `python -m benchmarks.coverage`.

The truth is known, so that the share of studies whose interval holds it, or that claim what is not so, is counted.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy.special import fdtrc

from analysis.stats.images import crossed
from analysis.stats.intervals import percentile, resampled, t_intervals
from analysis.stats.pooled import pool
from analysis.stats.reml import spread
from analysis.stats.retrained import pairs_of

Numbers = npt.NDArray[np.floating]
STUDIES = 20_000
SPREADS = {"equal": np.ones(10), "one tenfold": np.r_[10, np.ones(9)], "1 to 20": np.geomspace(1, 20, 10)}


def main() -> None:
    """Four tables, each on its own random numbers."""
    _student(np.random.default_rng(1))
    _bootstrap(np.random.default_rng(2))
    _false_claims(np.random.default_rng(3))
    _repeats(np.random.default_rng(4))


def _student(rng: np.random.Generator) -> None:
    print(f"coverage of 95 % t intervals, {STUDIES:,} studies")
    print("seeds   normal   one trial in ten diverges, 50 standard deviations below")
    for seeds in (3, 5, 10):
        normal = rng.standard_normal((seeds, STUDIES))
        diverged = rng.random((seeds, STUDIES)) < 0.1
        print(f"{seeds:5} {_covered(normal, 0):8.3f} {_covered(np.where(diverged, -50, normal), -5):8.3f}", flush=True)


def _covered(values: Numbers, truth: float) -> float:
    found = t_intervals(values)
    return float(((found.low < truth) & (found.high > truth)).mean())


def _bootstrap(rng: np.random.Generator) -> None:
    studies = STUDIES // 10
    print(f"\ncoverage of 95 % bootstrap intervals of a mean over blocks, {studies:,} studies, 1,000 resamples")
    print(" runs   1 block   2 blocks   6 blocks")
    for runs in (5, 10, 20, 30):
        shares = [_bootstrapped(rng, runs, blocks, studies) for blocks in (1, 2, 6)]
        print(f"{runs:5} {shares[0]:9.3f} {shares[1]:10.3f} {shares[2]:10.3f}", flush=True)


def _bootstrapped(rng: np.random.Generator, runs: int, blocks: int, studies: int) -> float:
    covered = 0
    for study in range(studies):
        values = rng.standard_normal((blocks, runs)).tolist()
        low, high = percentile(resampled(values, _mean, resamples=1000, seed=study))
        covered += low < 0 < high
    return covered / studies


def _mean(blocks: Sequence[Numbers]) -> Numbers:
    return np.mean([block.mean(axis=-1) for block in blocks], axis=0)


def _false_claims(rng: np.random.Generator) -> None:
    print(f"\nstudies of ten equal optimizers that claim a difference, {STUDIES:,} studies")
    print("seeds   spreads       all pairs, Holm   F test   F, Greenhouse-Geisser")
    for seeds in (3, 5, 10):
        for name, widths in SPREADS.items():
            scores = rng.standard_normal((STUDIES, seeds, 10)) * widths
            f_test, corrected = _f_tests(scores)
            print(f"{seeds:5}   {name:12} {_any_pair(scores):16.3f} {f_test:8.3f} {corrected:23.3f}", flush=True)


def _repeats(rng: np.random.Generator) -> None:
    studies = STUDIES // 10
    print(f"\ncoverage of 95 % intervals over R repeats, {studies:,} studies")
    print("R   tau = sigma, 2 seeds   tau = 2 sigma   x 10 images   x 2 images   2 + 1 boards")
    for repeats in (2, 4, 6, 10):
        taus = [_tau_covered(rng, repeats, tau, studies) for tau in (1.0, 2.0)]
        images = [_images_covered(rng, repeats, images, studies) for images in (10, 2)]
        both = [*taus, *images, _boards_covered(rng, repeats, studies)]
        widths = (22, 15, 13, 12, 14)
        print(f"{repeats:2}", *(f"{held:{width}.3f}" for held, width in zip(both, widths, strict=True)), flush=True)


def _tau_covered(rng: np.random.Generator, repeats: int, tau: float, studies: int) -> float:
    held = 0
    for _ in range(studies):
        found = spread(tau * rng.standard_normal((repeats, 1)) + rng.standard_normal((repeats, 2)))
        held += found.ci_low <= tau <= found.ci_high
    return held / studies


def _images_covered(rng: np.random.Generator, repeats: int, images: int, studies: int) -> float:
    held = 0
    for _ in range(studies):
        rows, columns = rng.standard_normal((repeats, 1)), rng.standard_normal(images)
        found = crossed(rows + columns + rng.standard_normal((repeats, images)))
        held += found.ci_low <= 0 <= found.ci_high
    return held / studies


def _boards_covered(rng: np.random.Generator, repeats: int, studies: int) -> float:
    """Two boards of one workload that share half of the variance, one of another with twice the spread."""
    held = 0
    for _ in range(studies):
        shared, own = rng.standard_normal(repeats), rng.standard_normal((3, repeats))
        found = pool({"v": [shared + own[0], shared + own[1]], "w": [2 * own[2]]})
        held += found.ci_low <= 0 <= found.ci_high
    return held / studies


def _any_pair(scores: Numbers) -> float:
    """Share of studies in which the smallest p of all pairs, times their number, is below 0.05."""
    first, second = pairs_of(scores.shape[-1])
    seeds = scores.shape[1]
    differences = np.moveaxis(scores[:, :, first] - scores[:, :, second], 1, 0).reshape(seeds, -1)
    p = t_intervals(differences).p.reshape(len(scores), -1)
    return float((p.min(axis=1) * len(first) <= 0.05).mean())


def _f_tests(scores: Numbers) -> tuple[float, float]:
    """The same of a two-way F test, seeds as blocks, and of it with Greenhouse and Geisser's degrees of freedom."""
    _, seeds, arms = scores.shape
    of_arm, of_seed = scores.mean(1, keepdims=True), scores.mean(2, keepdims=True)
    centre = scores.mean((1, 2), keepdims=True)
    rest = scores - of_arm - of_seed + centre
    between = seeds * ((of_arm - centre) ** 2).sum((1, 2)) / (arms - 1)
    within = (rest**2).sum((1, 2)) / ((arms - 1) * (seeds - 1))
    covariance = np.einsum("sni,snj->sij", rest, rest)
    epsilon = np.trace(covariance, axis1=1, axis2=2) ** 2 / ((arms - 1) * (covariance**2).sum((1, 2)))
    claims = [fdtrc(e * (arms - 1), e * (arms - 1) * (seeds - 1), between / within) <= 0.05 for e in (1.0, epsilon)]
    return float(claims[0].mean()), float(claims[1].mean())


if __name__ == "__main__":
    main()
