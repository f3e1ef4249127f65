"""What the intervals of one board say of its optimizers, in words."""

from collections.abc import Sequence

import pandas as pd

from analysis.stats.comparisons import BETTER, EQUIVALENT
from analysis.stats.words import amount, between, counted, joined

LISTED = 3
"""Worse optimizers that get a clause each; more are said together."""


def ranking(standing: pd.DataFrame, pairs: pd.DataFrame) -> str:
    """Sentences on a board.

    Args:
        standing: its rows of `standings`, at least one.
        pairs: its rows of `comparisons`.
    """
    if standing["failed"].eq(standing["trials"]).all():
        return "Every retrain trial diverged or failed and counts as the trivial score: nothing can be told."
    if len(standing) == 1:
        return f"{standing['optimizer'].iloc[0]} is the only optimizer with retrain trials: it is compared with none."
    tested = pairs[pairs["p"].notna()]
    in_pairs = {*tested["optimizer"], *tested["other"]}
    able = [name for name in standing["optimizer"] if name in in_pairs]
    unable = [name for name in standing["optimizer"] if name not in able]
    if not able:
        return _untested(standing)
    sentences = [_told(able, pairs, tested), *_failed(standing)]
    if unable:
        sentences.append(f"Nothing can be told of {joined(unable)}, with fewer than two seeds in common with others.")
    return " ".join(sentences)


def undominated(names: Sequence[str], pairs: pd.DataFrame) -> list[str]:
    """Those of the names that none of the others is told to be better than: the best is among them."""
    told = pairs[(pairs["outcome"] == BETTER) & pairs["optimizer"].isin(names)]
    beaten = set(told["other"])
    return [name for name in names if name not in beaten]


def _untested(standing: pd.DataFrame) -> str:
    if standing["n"].max() < 2:
        return f"One {standing['counts'].iloc[0].removesuffix('s')}: nothing can be told."
    return "Scores of two optimizers never vary apart, or share fewer than two seeds: nothing can be told."


def _told(able: list[str], pairs: pd.DataFrame, tested: pd.DataFrame) -> str:
    leading = undominated(able, tested)
    worse = [name for name in able if name not in leading]
    if not worse:
        return _alike(able, pairs)
    first = leading[0]
    head = f"{first} is best" if len(leading) == 1 else f"{joined(leading)} {_relation(leading, pairs)}"
    told = tested[tested["outcome"] == BETTER]
    of_first = told[told["optimizer"] == first].set_index("other")
    than = "" if len(leading) == 1 else f" than {first}"
    clauses = _clauses([name for name in worse if name in of_first.index], of_first, than)
    for name in worse:
        if name not in of_first.index:
            row = told[told["other"] == name].iloc[0]
            clauses.append(f"{name} is {_by(row, 'worse than ' + row['optimizer'])}")
    return "; ".join([head, *clauses]) + "."


def _alike(names: list[str], pairs: pd.DataFrame) -> str:
    who = joined(names) if len(names) == 2 else f"The {len(names)} optimizers"
    relation = _relation(names, pairs)
    if relation == "are equivalent":
        row = pairs.iloc[0]
        return f"{who} are equivalent: no difference is as large as {amount(row['margin'], row['unit'])}."
    return f"{who} {relation}."


def _relation(names: list[str], pairs: pd.DataFrame) -> str:
    among = pairs[pairs["optimizer"].isin(names) & pairs["other"].isin(names)]
    return "are equivalent" if among["outcome"].eq(EQUIVALENT).all() else "cannot be told apart"


def _clauses(worse: list[str], rows: pd.DataFrame, than: str) -> list[str]:
    if len(worse) <= LISTED:
        return [f"{name} is {_by(rows.loc[name], 'worse' + than)}" for name in worse]
    those = rows.loc[worse]
    unit = those["unit"].iloc[0]
    least, most = amount(those["ci_low"].min(), unit), amount(those["ci_high"].max(), unit)
    return [f"{joined(worse)} are worse{than} (intervals from {least} to {most})"]


def _by(row: pd.Series, what: str) -> str:
    return between(row["difference"], row["ci_low"], row["ci_high"], row["unit"], what)


def _failed(standing: pd.DataFrame) -> list[str]:
    lost = standing[standing["failed"] > 0]
    if lost.empty:
        return []
    each = [f"{row.optimizer} in {row.failed} of {counted(int(row.trials), 'trial')}" for row in lost.itertuples()]
    return [f"Diverged or failed, counted as the trivial score: {joined(each)}."]
