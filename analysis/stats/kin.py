"""Kin: optimizers that were one method on a board, whose scores are no independent votes."""

from typing import NamedTuple

import pandas as pd

from analysis.answers import Answers
from analysis.stats.retrained import Key, by_board
from analysis.stats.words import joined
from tune_qat.results.views import read_sql

CLIPPED_OF = {"sgd_clip": "sgd", "sgd_agc": "sgd"}
"""Optimizers that clip gradients, each with the one that it is where it clips none."""
NUMBERS = {2: "two", 3: "three", 4: "four"}


class Kin(NamedTuple):
    """Optimizers that are one method on a board."""

    names: tuple[str, ...]
    unclipped: tuple[str, ...]
    """Optimizers among them whose chosen configuration clipped no step."""
    identical: bool
    """Whether some of their runs are bit-identical."""

    @property
    def sentence(self) -> str:
        """Sentence that counts them as one, with the reason."""
        clipping = f"the chosen configuration of {joined(self.unclipped)} clipped no step" if self.unclipped else ""
        runs = "some of their runs are equal to the last bit" if self.identical else ""
        why = joined([reason for reason in (clipping, runs) if reason])
        count = NUMBERS.get(len(self.names), str(len(self.names)))
        return f"{joined(self.names)} are one method here, and no {count} votes: {why}."


def kin(asked: Answers) -> dict[Key, list[Kin]]:
    """Return the groups of each board whose runs are bit-identical, or that differ by a clipping that never clipped."""
    clipping = {key: _unclipped(rows) for key, rows in by_board(asked.frame(read_sql(__file__, "kin"))).items()}
    runs = asked.frame("identical_runs")
    alike = {
        key: [names.split(", ") for names in rows["optimizers"]]
        for key, rows in by_board(runs[runs["n_optimizers"] > 1]).items()
    }
    return {key: _groups(clipping.get(key, []), alike.get(key, [])) for key in {*clipping, *alike}}


def _unclipped(rows: pd.DataFrame) -> list[str]:
    """Return the optimizers that clipped no step, where the one that they then are is on the board."""
    known = set(rows["optimizer"])
    never = rows.loc[rows["clipped"] == 0, "optimizer"]
    return [name for name in never if CLIPPED_OF.get(name) in known]


def _groups(unclipped: list[str], alike: list[list[str]]) -> list[Kin]:
    """Join groups that have a name in common."""
    groups: list[set[str]] = []
    for names in [*([name, CLIPPED_OF[name]] for name in unclipped), *alike]:
        touching = [group for group in groups if group & set(names)]
        groups = [group for group in groups if group not in touching]
        groups.append(set(names).union(*touching))
    return [
        Kin(
            names=tuple(sorted(group)),
            unclipped=tuple(name for name in unclipped if name in group),
            identical=any(group >= set(names) for names in alike),
        )
        for group in groups
    ]
