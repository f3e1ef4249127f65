"""Sentences of the page on null studies: how many studies of equal optimizers have one that asserts a difference.

A study has ten arms at 4/4 and their ten at 32/32, each a search of its own drawn by `benchmarks.null_study`, and is
worded by `verdicts`, as the page and `tune-qat query RESULTS verdicts` are. The control moves, so that all sentences
come.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

from analysis import stats
from analysis.answers import Answers
from analysis.stats.boards import ARM, BOARD
from analysis.stats.fronts import FRONTS
from analysis.stats.scope import ALL_VARY, DESIGNS
from analysis.stats.verdict import OPTIMIZERS, QUANTIZATION, Verdict
from tune_qat.results.views import read_sql

CLAIMS = {
    OPTIMIZERS: re.compile(r" is best| better\b| worse\b| beats |\b(pairs|they) differ"),
    QUANTIZATION: re.compile(r"^Quantization to |It does change | gains "),
}
"""Words by which a sentence on the ranking, or on what quantization changes, asserts a difference."""
FLOAT = {"weight_bits": 32, "activation_bits": 32, "method": "none"}


class Drawn(Answers):
    """Answers about studies that were drawn and not recorded."""

    def __init__(self, frames: dict[str, pd.DataFrame]) -> None:
        """Take the answers by question."""
        self._frames = frames

    def frame(self, query: str) -> pd.DataFrame:
        """Return the answer to a question; `KeyError` for one that was not given."""
        return self._frames[query]


class Said(NamedTuple):
    """Shares of null studies in which a sentence asserts a difference."""

    ranking: float
    """A sentence on the ranking at 4/4."""
    change: float
    """A sentence on what quantization to 4/4 changes."""
    page: float
    """Any sentence, that on the ranking at 32/32 among them."""


def claims(said: Verdict) -> bool:
    """Return whether the sentences on a board assert a difference of two optimizers."""
    return bool(CLAIMS[said.subject].search(said.sentence))


def pages(quantized: pd.DataFrame, control: pd.DataFrame) -> Iterator[dict[str, bool]]:
    """Yield for each study which of its sentences assert a difference: `ranking`, `change`, `control`.

    Args:
        quantized: rows as those of `retrain_scores` at 4/4.
        control: the same at 32/32, of the same studies.
    """
    scores = pd.concat([quantized, control.assign(**FLOAT)], ignore_index=True)
    names = {(OPTIMIZERS, 4): "ranking", (QUANTIZATION, 4): "change", (OPTIMIZERS, 32): "control"}
    found: dict[str, dict[str, bool]] = {}
    for one in stats.verdicts(Drawn(frames(scores))):
        found.setdefault(one.study_id, {})[names[one.subject, int(one.weight_bits or 0)]] = claims(one)
    yield from found.values()


def shares(told: list[dict[str, bool]]) -> Said:
    """Return the shares over studies."""
    of = {name: np.mean([one[name] for one in told]) for name in ("ranking", "change")}
    return Said(float(of["ranking"]), float(of["change"]), float(np.mean([any(one.values()) for one in told])))


def frames(scores: pd.DataFrame) -> dict[str, pd.DataFrame]:
    """Return the answers that `verdicts` asks for, from rows of `retrain_scores` of finished studies."""
    studies = scores["study_id"].unique()
    arms = scores.drop_duplicates([*ARM, "repeat"]).reset_index(drop=True)
    names = arms["optimizer"] + arms["weight_bits"].map("-w{}".format) + arms["repeat"].map("-r{}".format)
    designs = arms[["study_id", "repeat", "init"]].assign(
        whole=arms["study_id"], model="lenet5", dataset="digits", arm_id=names, sampler_seed=arms.index
    )
    counted = scores.groupby(ARM, sort=False)["score"].size().rename("ended_retrain").reset_index()
    return {
        "retrain_scores": scores,
        "budget": counted.assign(planned_retrain=counted["ended_retrain"]),
        "leaderboard": pd.DataFrame(columns=[*ARM, "n"]),
        "start": pd.DataFrame({"study_id": studies, "whole": studies, "alpha": np.nan, "reference": None}),
        FRONTS: pd.DataFrame(columns=["study_id"]),
        DESIGNS: designs.assign(varies_json=ALL_VARY),
        read_sql(stats.__file__, "beginnings"): scores.assign(
            start=np.nan, calibrated=scores["trivial"], final=scores["score"]
        ),
        read_sql(stats.__file__, "kin"): pd.DataFrame(columns=[*ARM, "clipped"]),
        "identical_runs": pd.DataFrame(columns=[*BOARD, "optimizers", "n_optimizers"]),
    }
