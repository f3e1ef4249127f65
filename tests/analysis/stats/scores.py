"""Rows of `retrain_scores` from plain numbers, for tests of what is computed from them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

FACTS = {"metric": "accuracy", "unit": "fraction", "sign": 1, "margin": 0.001, "trivial": 0.1, "repeat": 0}
FACTS |= {"whole": None, "init": "pretrain", "start_name": None, "control_for": None, "copied": False}


def rows(
    by_optimizer: Mapping[str, Sequence[float | None]],
    *,
    study: str = "s",
    bits: int = 4,
    method: str = "lsq",
    seeds: Mapping[str, Sequence[int]] | None = None,
    **facts: Any,
) -> pd.DataFrame:
    """One board: each optimizer's scores for the seeds 1, 2, ..., or for its own `seeds`; None: diverged."""
    shared = {**FACTS, **facts}
    board: dict[str, Any] = {"study_id": study, "mode": "comparison", "workload": "m-d"}
    board |= {"method": "none" if bits == 32 else method, "weight_bits": bits, "activation_bits": bits}
    return pd.DataFrame(
        [
            {
                **board,
                "optimizer": optimizer,
                "seed": seed,
                **shared,
                "score": shared["trivial"] if score is None else score,
                "failed": score is None,
                "collapsed": False,
            }
            for optimizer, scores in by_optimizer.items()
            for seed, score in zip((seeds or {}).get(optimizer, range(1, len(scores) + 1)), scores, strict=True)
        ]
    )


def studies(scores: np.ndarray, *, bits: int = 4, **facts: Any) -> pd.DataFrame:
    """Many studies at once: scores (studies, seeds, optimizers), the optimizers called o0, o1, ..."""
    many, seeds, optimizers = scores.shape
    study, seed, optimizer = (index.ravel() for index in np.indices(scores.shape))
    return pd.DataFrame(
        {
            "study_id": study,
            "mode": "comparison",
            "workload": "m-d",
            "method": "none" if bits == 32 else "lsq",
            "weight_bits": bits,
            "activation_bits": bits,
            "optimizer": [f"o{index}" for index in optimizer],
            "seed": seed + 1,
            "score": scores.ravel(),
            "failed": False,
            "collapsed": False,
            **{**FACTS, **facts},
        }
    )
