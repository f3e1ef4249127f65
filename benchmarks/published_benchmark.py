"""The published benchmark of ten optimizers for LSQ beside predictors that need no training.

python -m benchmarks.published_benchmark [--save]

Its splits are not stated, so two things stand in. Classification: every value of the table is a whole number of 130
images, whatever they were, and from that number interval and test follow. Super-resolution: what a black image, a grey
one and interpolation reach on the nine photographs of the dataset `photos`, as a level to compare with.
`--save` writes docs/results/published_benchmark.md.
"""

import argparse
import statistics
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image
from scipy import stats

import analysis
from benchmarks.measure import command_line, machine, table
from tune_qat.data.luma import low_and_high
from tune_qat.data.photos import SCENES, scene_files

RESULT = Path(__file__).parent.parent / "docs" / "results" / "published_benchmark.md"
SOURCE = "QAT Optimizer Benchmark (LSQ)"
BREEDS = IMAGES = 130
"""Breeds of Tsinghua Dogs, and images that every published accuracy is a whole number of."""
SCALE, BORDER = 3, 3


def published(kind: str) -> pd.DataFrame:
    """The numbers of one of the two tables, best first."""
    rows = pd.concat(pd.read_csv(path) for path in (Path(analysis.__file__).parent / "published").glob("*.csv"))
    return rows[(rows["source"] == SOURCE) & (rows["source_table"] == kind)].sort_values("value", ascending=False)


def right_of(percent: float) -> int:
    """Images that were classified right; `ValueError` where the value, cut after three digits, is no number of them."""
    right = round(percent / 100 * IMAGES)
    if int(1e5 * right / IMAGES) / 1e3 != percent:
        raise ValueError(f"{percent} % is no whole number of {IMAGES} images.")
    return right


def classification() -> str:
    """Table, with a Wilson interval of each and the exact test against guessing one of 130 breeds."""
    rows, right = [], []
    for row in published("Classification").itertuples():
        count = right_of(row.value)
        right.append(count)
        interval = stats.binomtest(count, IMAGES).proportion_ci(method="wilson")
        p = stats.binomtest(count, IMAGES, 1 / BREEDS, alternative="greater").pvalue
        low, high = (f"{100 * end:.1f}" for end in interval)
        rows.append([row.optimizer, row.value, f"{count} of {IMAGES}", f"{low} .. {high}", f"{p:.4f}"])
    alike = stats.chi2_contingency([[count, IMAGES - count] for count in right]).pvalue
    shuffled = permutation_p(right)
    head = ["optimizer", "published, %", "images", "95 % interval, %", "p of as many by guessing"]
    said = (
        f"Guessing gives {100 / BREEDS:.2f} %. Were all ten equally good, they would differ as much or more by chance "
        f"with p = {alike:.2f} (chi-square test; {shuffled:.2f} by permutation, as counts this small need): the table "
        "does not tell them apart. Ten means of ten different "
        "runs would not all be whole numbers of 130 images."
    )
    return f"{table(head, rows)}\n\n{said}"


def permutation_p(right: list[int], draws: int = 100_000) -> float:
    """P value of the chi-square statistic when all right answers are dealt out at random: exact but for the draws.

    Five right answers in 130 are too few for the statistic to have the chi-square distribution.
    """
    sizes = [IMAGES] * len(right)
    dealt = np.random.default_rng(0).multivariate_hypergeometric(sizes, sum(right), size=draws)
    # The statistic rises with the squared deviations alone: all expected counts are the same.
    spread = ((dealt - np.mean(right)) ** 2).sum(axis=1)
    return float((1 + (spread >= ((np.array(right) - np.mean(right)) ** 2).sum() - 1e-9).sum()) / (1 + draws))


def psnr(predicted: np.ndarray, true: np.ndarray) -> float:
    """In dB of 8-bit luma, without the border that interpolation cannot know."""
    inner = (slice(BORDER, -BORDER),) * 2
    error = (predicted[inner].astype(float) - true[inner]) ** 2
    return float(10 * np.log10(255**2 / error.mean()))


def untrained() -> dict[str, list[float]]:
    """PSNR of each predictor on each photograph."""
    found: dict[str, list[float]] = {"bicubic": [], "nearest neighbour": [], "its own mean grey": [], "black": []}
    for path in (path for scene in sorted(SCENES) for path in scene_files(scene)):
        low, high = low_and_high(Image.open(path).convert("RGB"), SCALE)
        size = (high.shape[1], high.shape[0])
        for name, method in (("bicubic", Image.Resampling.BICUBIC), ("nearest neighbour", Image.Resampling.NEAREST)):
            found[name].append(psnr(np.asarray(Image.fromarray(low).resize(size, method)), high))
        found["its own mean grey"].append(psnr(np.full(high.shape, round(high.mean())), high))
        found["black"].append(psnr(np.zeros(high.shape), high))
    return found


def super_resolution() -> str:
    """Table of the published values among those of untrained predictors, best first."""
    rows = [(row.value, row.optimizer, "published, on DIV2K") for row in published("Super-Resolution").itertuples()]
    for name, values in untrained().items():
        spread = f"untrained, {len(values)} photographs x{SCALE}: {min(values):.1f} .. {max(values):.1f}"
        rows.append((statistics.median(values), f"**{name}**", spread))
    return table(["PSNR, dB", "of", "where"], [[f"{value:.2f}", *rest] for value, *rest in sorted(rows, reverse=True)])


def page() -> str:
    """The whole page."""
    return f"""# The published benchmark of ten optimizers, beside predictors that need no training

`{command_line(sys.argv)}`; {machine()}

Source: {SOURCE}; every optimizer at one learning rate, six epochs, said to be means of ten runs.

## ResNet-18, Tsinghua Dogs

{classification()}

## ESPCN, DIV2K

{super_resolution()}

The photographs are not DIV2K and the published scale is not stated, so the rows of untrained predictors are a level and
no measurement of that study. The published values lie below interpolation, down to what a black image gives; the order
is about that of the step that each optimizer takes at one small learning rate. No floating-point row stands beside
them, so they say nothing of quantization either.
"""


def main() -> None:
    """Print, and save."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--save", action="store_true", help=f"write {RESULT.relative_to(RESULT.parents[2])}")
    given = options.parse_args()
    text = page()
    print(text)
    if given.save:
        RESULT.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
