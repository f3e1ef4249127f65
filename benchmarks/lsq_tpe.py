"""TPE with ASHA against unstopped Sobol points: `python -m benchmarks.lsq_tpe RECORD --tpe RECORD`.

A secondary question of the study `lsq_optimizers` (docs/results/lsq_optimizers/README.md): does what users run find as
good a configuration, in as many epochs? Both parts have the same starts, subsets and seeds: arms pair by repeat.
In margins of each board, above 0 where TPE's configuration has the better test score; `epochs` are those that an arm
and repeat spent on its search, finalists and retrain trials left out.
"""

import argparse
import sys

import numpy as np
import pandas as pd

import analysis
from analysis.stats.contrasts import ALL
from analysis.stats.pooled import equivalence, pool

BITS = [4, 4]
ARM = ["workload", "optimizer", "repeat"]
COLUMNS = ["optimizer", "difference", "ci_low", "ci_high", "df", "p_equivalence", "boards", "epochs", "epochs_tpe"]
SPENT = """
SELECT workload, optimizer, repeat, sum(epochs_run)::DOUBLE AS epochs
FROM whole_trials
WHERE tuning AND (weight_bits, activation_bits) = (4, 4) AND control IS NULL AND init = 'pretrain'
GROUP BY ALL"""


def against_sobol(sobol: str, tpe: str) -> pd.DataFrame:
    """Compare what two searches of the same arms have found: a row for each optimizer of `tpe`, and for all of them."""
    found = pd.concat([_arms(sobol), _arms(tpe).add_suffix("_tpe")], axis=1, join="inner").reset_index()
    found["difference"] = found["score_tpe"] - found["score"]
    rows = [_row(str(optimizer), mine) for optimizer, mine in found.groupby("optimizer")]
    together = found.groupby(["workload", "repeat"], as_index=False)[["difference", "epochs", "epochs_tpe"]].mean()
    return pd.DataFrame([*rows, _row(ALL, together)])[COLUMNS]


def _arms(record: str) -> pd.DataFrame:
    """Return score in margins and epochs of the search by workload, optimizer and repeat, of fine-tuning at 4/4."""
    asked = analysis.answers(record)
    rows = asked.frame("retrain_scores")
    bits = rows[["weight_bits", "activation_bits"]].eq(BITS).all(axis=1)
    rows = rows[bits & rows["control"].isna() & rows["init"].eq("pretrain")]
    scores = (rows["sign"] * rows["score"] / rows["margin"]).groupby([rows[name] for name in ARM]).mean()
    return pd.concat([scores.rename("score"), asked.frame(SPENT).set_index(ARM)["epochs"]], axis=1, join="inner")


def _row(optimizer: str, arms: pd.DataFrame) -> dict[str, object]:
    boards = arms.pivot(index="repeat", columns="workload", values="difference")
    # Boards of different workloads share no draw of a repeat: each is a cluster of its own.
    found = pool({name: [np.asarray(values.dropna(), dtype=float)] for name, values in boards.items()})
    spent = arms[["epochs", "epochs_tpe"]].mean()
    about = {"optimizer": optimizer, "boards": boards.shape[1], "p_equivalence": equivalence(found)}
    return {**about, **found._asdict(), **spent}


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("record", help="results folder of the study")
    parser.add_argument("--tpe", required=True, help="results folder of its part on TPE")
    options = parser.parse_args()
    print(against_sobol(options.record, options.tpe).round(3).to_string(index=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
