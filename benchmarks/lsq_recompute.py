"""Recompute the primary answers of `lsq_optimizers` from its files: `python -m benchmarks.lsq_recompute RECORD [...]`.

pandas and scipy alone, and nothing of this project: a second way from the Parquet files to the numbers that
`benchmarks.lsq_optimizers` gives. It also chooses each arm's configuration again, from its tuning trials and finalists,
and ends with an error where the record says another one.
"""

import argparse
import sys
from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import stats

ALPHA = 0.05
TUNING = ("default", "random", "search", "finalists")


def read(records: list[str], table: str) -> pd.DataFrame:
    """Read all files of a table; the name of the study is in that of their folder."""
    files = [path for record in records for path in sorted(Path(record).glob(f"{table}/study_id=*/*.parquet"))]
    parts = [pd.read_parquet(path, partitioning=None).assign(study_id=path.parent.name[9:]) for path in files]
    return pd.concat(parts, ignore_index=True)


def scored(records: list[str]) -> pd.DataFrame:
    """Return arms with their `score` in margins: the mean over retrain seeds of the configuration that each chose."""
    arms = read(records, "arms").set_index(["study_id", "arm_id"])
    trials = read(records, "trials")
    if trials.duplicated(["study_id", "trial_key"]).any():
        raise SystemExit("A trial is in the record twice.")
    trials = trials[trials.status.isin(["completed", "diverged", "oom", "error"])]
    found = []
    for key, mine in trials[trials.stage != "pretrain"].groupby(["study_id", "arm_id"]):
        arm = arms.loc[key]
        fine = (mine.status == "completed") & mine.learned.eq(True)
        mine = mine.assign(
            validated=mine.val_metric.where(fine, arm.trivial_score),
            tested=mine.test_metric.where(fine, arm.trivial_test_score),
        )
        check_choice(str(key), mine[mine.stage.isin(TUNING)], arm.best_config_id)
        last = mine[(mine.stage == "retrain") & (mine.config_id == arm.best_config_id)]
        found.append(
            {
                **arm[["workload", "init", "optimizer", "step_optimizer", "control", "repeat", "weight_bits"]],
                "score": last.tested.mean() / arm.margin,
            }
        )
    return pd.DataFrame(found)


def check_choice(arm: str, trials: pd.DataFrame, recorded: str) -> None:
    """Choose among the finalists by the mean over all their trials, and compare with the record."""
    again = trials[trials.stage == "finalists"].config_id.unique()
    means = trials[trials.config_id.isin(again)].groupby("config_id").validated.mean()
    if len(means) and means[recorded] < means.max():
        raise SystemExit(f"{arm} chose {recorded} with {means[recorded]}, but {means.idxmax()} has {means.max()}.")


def table_of(arms: pd.DataFrame, bits: int) -> pd.DataFrame:
    """Return scores with a row for each board and repeat, and a column for each optimizer and who moves its steps."""
    chosen = arms[(arms.weight_bits == bits) & arms.control.isna()]
    steps = chosen.step_optimizer.fillna("own")
    return chosen.assign(arm=chosen.optimizer + "/" + steps).pivot(
        index=["workload", "init", "repeat"], columns="arm", values="score"
    )


def answer(differences: pd.Series) -> dict[str, float]:
    """Test a mean over boards: boards of a workload are averaged in each repeat, and these vary over repeats."""
    boards = differences.unstack("repeat").groupby("workload").size()
    repeats = differences.unstack("repeat").groupby("workload").mean().T
    share = boards / boards.sum()
    n, variance = repeats.count(), repeats.var(ddof=1)
    parts = share**2 * variance / n
    error, mean = np.sqrt(parts.sum()), float((share * repeats.mean()).sum())
    df = parts.sum() ** 2 / (parts**2 / (n - 1)).sum()
    half = stats.t.ppf(0.975, df) * error
    return {
        "difference": mean,
        "ci_low": mean - half,
        "ci_high": mean + half,
        "df": df,
        "p": 2 * stats.t.sf(abs(mean) / error, df),
        "p_equivalence": max(stats.t.sf((mean + 1) / error, df), stats.t.cdf((mean - 1) / error, df)),
        "boards": int(boards.sum()),
    }


def holm(p: pd.Series) -> pd.Series:
    """Correct p values after Holm (1979)."""
    order = p.sort_values()
    factors = np.arange(len(order), 0, -1)
    return (order * factors).cummax().clip(upper=1).reindex(p.index)


def primary(records: list[str]) -> pd.DataFrame:
    """Compute the primary answers."""
    arms = scored(records)
    low, full = table_of(arms, 4), table_of(arms, 32)
    names = sorted({name.split("/")[0] for name in full} - {"adam"})
    rows = []
    for question, name in product((1, 2), names):
        difference = low[f"{name}/own"] - low["adam/own"]
        if question == 2:
            difference = (difference - (full[f"{name}/own"] - full["adam/own"])).xs(
                "scratch", level="init", drop_level=False
            )
        rows.append({"question": question, "optimizer": name, **answer(difference)})
    both = [name for name in names if f"{name}/adam" in low and f"{name}/own_rate" in low]
    gains = sum(low[f"{name}/adam"] - low[f"{name}/own_rate"] for name in both) / len(both)
    rows.append({"question": 3, "optimizer": "all", **answer(gains)})
    table = pd.DataFrame(rows)
    return table.assign(p_holm=holm(table.p))


def main() -> int:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("records", nargs="+", help="results folders of the study")
    print(primary(parser.parse_args().records).round(4).to_string(index=False))
    return 0


if __name__ == "__main__":
    sys.exit(main())
