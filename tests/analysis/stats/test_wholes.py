"""Which files of a whole study are blocks of one board."""

import pandas as pd

from analysis.stats.boards import wholes
from tests.analysis.stats.scores import rows


def block(study: str, repeats: range, score: float) -> pd.DataFrame:
    found = [rows({"adam": [score], "lion": [score]}, study=study, whole="w", repeat=number) for number in repeats]
    return pd.concat(found, ignore_index=True)


def test_files_with_other_repeats_are_one_board() -> None:
    found = wholes(pd.concat([block("a", range(2), 0.9), block("b", range(2, 4), 0.8)], ignore_index=True))
    assert set(found["study_id"]) == {"w"}


def test_files_with_the_same_repeats_stay_apart() -> None:
    """They differ in data or recipe: a mean over both would be of nothing."""
    found = wholes(pd.concat([block("a", range(2), 0.9), block("b", range(1, 3), 0.5)], ignore_index=True))
    assert set(found["study_id"]) == {"a", "b"}
