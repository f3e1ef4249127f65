"""Primary answers of the study `lsq_optimizers`: `python -m benchmarks.lsq_optimizers RECORD [RECORD ...]`.

What was fixed beforehand (docs/results/lsq_optimizers/README.md), in margins of each board, from repeats within boards,
with Holm's correction over all of these tests together:

1. at 4/4, each optimizer against Adam, mean over all boards;
2. the change of that difference from 32/32 to 4/4, mean over the boards from scratch;
3. step sizes by Adam less step sizes by the arm's own optimizer, both with a rate of their own, at 4/4, mean over all
   boards and over the optimizers that have both.

`benchmarks.lsq_recompute` computes the same numbers from the files alone.
"""

import argparse
import sys
from collections.abc import Sequence

import pandas as pd
from scipy.special import stdtr

import analysis
from analysis.stats.comparisons import holm, references
from analysis.stats.contrasts import ALL, AT_BITS, CHANGE, STEP_OPTIMIZER, Contrast, contrasts
from analysis.stats.intervals import TWO_HUMPS
from analysis.stats.pooled import equivalence, in_margins, pool

REFERENCE, BITS = "adam", (4, 4)
ANSWERS = [
    "question",
    "optimizer",
    "difference",
    "ci_low",
    "ci_high",
    "df",
    "p",
    "p_holm",
    "p_equivalence",
    "boards",
    "why",
]


def primary(*records: str) -> pd.DataFrame:
    """Compute the primary answers: a row for each test, above 0 where the optimizer is better than the reference."""
    asked = analysis.answers(*records)
    groups: dict[tuple[int, str], list[Contrast]] = {}
    for each in contrasts(asked.frame("retrain_scores"), references(asked)):
        if each.board.key[-2:] == BITS and (question := _question(each)):
            towards = each if each.other == REFERENCE or question == 3 else _turned(each)
            groups.setdefault((question, towards.optimizer.partition(" + ")[0]), []).append(towards)
    rows = [_row(question, optimizer, members) for (question, optimizer), members in sorted(groups.items())]
    table = pd.DataFrame(rows)
    table["p_holm"] = holm(table["p"])
    return table[ANSWERS]


def _question(each: Contrast) -> int | None:
    """Return the number of the primary question that a contrast at 4/4 is about; None for any other."""
    against = REFERENCE in (each.optimizer, each.other) and "+" not in each.optimizer + each.other
    if each.kind == AT_BITS and against:
        return 1
    if each.kind == CHANGE and against and each.board.init == "scratch":
        return 2
    return 3 if each.kind == STEP_OPTIMIZER and each.optimizer.startswith(ALL) else None


def _turned(each: Contrast) -> Contrast:
    return each._replace(optimizer=each.other, other=each.optimizer, values=-each.values)


def _row(question: int, optimizer: str, members: Sequence[Contrast]) -> dict[str, object]:
    found = pool(in_margins(members))
    mixed = any(each.mixed for each in members)
    return {
        "question": question,
        "optimizer": optimizer,
        **found._asdict(),
        "p": float("nan") if mixed else float(2 * stdtr(found.df, -abs(found.difference) / found.error)),
        "p_equivalence": equivalence(found),
        "boards": len(members),
        "why": TWO_HUMPS if mixed else "",
    }


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", nargs="+", help="results folders of the study")
    print(primary(*parser.parse_args().records).round(4).to_string(index=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
