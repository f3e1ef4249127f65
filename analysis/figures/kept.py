"""Cache of the tables that several figures of one page share."""

from collections.abc import Callable
from weakref import WeakKeyDictionary

import pandas as pd

from analysis.answers import Answers, Results, answers

Statistic = Callable[[Results | Answers], pd.DataFrame]

_KEPT: WeakKeyDictionary[Answers, dict[Statistic, pd.DataFrame]] = WeakKeyDictionary()


def kept(statistic: Statistic, results: Results | Answers) -> pd.DataFrame:
    """Return the table of `statistic`, computed once for each `Answers` and cached with it: do not change it."""
    asked = answers(results)
    tables = _KEPT.setdefault(asked, {})
    if statistic not in tables:
        tables[statistic] = statistic(asked)
    return tables[statistic]
