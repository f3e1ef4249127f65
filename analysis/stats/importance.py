"""Hyperparameter importance for reaching an arm's best trials: PED-ANOVA, with its spread over resamples.

Importance is a hyperparameter's share of the Pearson divergence between the distributions of the best tenth of the
trials and of all trials (Watanabe et al., IJCAI 2023), computed by Optuna. It is over default, random and search trials
with a score: that of the last epoch, or the trivial score for one that diverged or failed. Trials that were stopped
early have none.
"""

import json
import math
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd

from analysis.answers import Answers, Results, answers
from analysis.stats.boards import ARM, BOARD, compared, in_order
from analysis.stats.intervals import LEVEL, Numbers
from analysis.stats.retrained import Indices

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

SPACES = "SELECT study_id, arm_id, space_json FROM whole_arms"
TRIALS = 20
"""Fewest trials, of which the best part is a quarter; with fewer, the place of the best ones is chance."""
MOST_TRIALS = 200
"""Most trials that are used: of more, a random sample of this size, which costs less and changes little."""
BEST = 0.1
"""Share of the trials that counts as the best part; at least 5 trials, as Optuna advises."""
RESAMPLES = 50

Ranges = dict[str, dict[str, Any]]
"""Search ranges by hyperparameter: `low`, `high` and, where it was searched on a log scale, `log`."""


def importances(results: Results | Answers) -> pd.DataFrame:
    """Compute the importance of each searched hyperparameter, for each arm; those of an arm sum to 1.

    Columns: those of a board, optimizer, `n` trials, `parameter`, `importance`, `ci_low`, `ci_high` (95 % bootstrap
    interval over the trials), `reason` (why there is no number, else empty).
    """
    asked = answers(results)
    scores = asked.frame("tuning_scores")
    scores = scores[scores["score"].notna()].merge(asked.frame(SPACES), on=["study_id", "arm_id"])
    rows = []
    for arm, every in scores.groupby(ARM):
        trials = every.iloc[_kept(len(every))]
        ranges = _ranges(trials["space_json"], arm[-1])
        values = _values(trials, ranges)
        objectives = (trials["sign"] * trials["score"]).to_numpy(float)
        rows += [[*arm, len(every), *found] for found in importance(values, objectives, ranges)]
    columns = [*ARM, "n", "parameter", "importance", "ci_low", "ci_high", "reason"]
    return in_order(pd.DataFrame(rows, columns=columns), "optimizer", "parameter")


def board_importances(results: Results | Answers) -> pd.DataFrame:
    """Compute the importance of optimizer, learning rate and batch size, for each board; they sum to 1.

    `relative_learning_rate` is the rate over the optimizer's documented default, so that it is comparable among
    optimizers; those without a default trial are left out. Columns: those of a board, `n` trials of all optimizers, and
    `parameter`, `importance`, `ci_low`, `ci_high`, `reason` as for `importances`.
    """
    scores = compared(answers(results).frame("tuning_scores"))
    scores = scores[scores["score"].notna() & (scores["default_learning_rate"] > 0)]
    rows = []
    for board, trials in scores.groupby(BOARD):
        rates = trials["learning_rate"] / trials["default_learning_rate"]
        values = trials[["optimizer", "batch_size"]].assign(relative_learning_rate=rates)
        values = values.loc[:, values.nunique() > 1]
        ranges: Ranges = {name: {"low": math.inf, "high": 0, "log": True} for name in values}
        objectives = (trials["sign"] * trials["score"]).to_numpy(float)
        rows += [[*board, len(trials), *found] for found in importance(values, objectives, ranges)]
    columns = [*BOARD, "n", "parameter", "importance", "ci_low", "ci_high", "reason"]
    return in_order(pd.DataFrame(rows, columns=columns), "parameter")


class Importance(NamedTuple):
    """Importance of one hyperparameter; NaN where `reason` says why."""

    parameter: str
    share: float
    low: float
    high: float
    reason: str


def importance(values: pd.DataFrame, objectives: Numbers, ranges: Ranges, seed: int = 0) -> list[Importance]:
    """Compute the importance of each column of `values`, with its spread over resamples of the trials.

    Args:
        values: a row for each trial, a column for each hyperparameter.
        objectives: the trials' scores; larger is better.
        ranges: search ranges of the hyperparameters; they are widened to hold all values.
        seed: seed of the resampling.
    """
    why = _too_little(values, objectives)
    if why:
        return [Importance(name, math.nan, math.nan, math.nan, why) for name in values]
    generator = np.random.default_rng(seed)
    kept = _kept(len(values))
    values, objectives = values.iloc[kept], objectives[kept]
    own = _evaluate(values, objectives, ranges, np.arange(len(values))[None, :])[0]
    draws = generator.integers(len(values), size=(RESAMPLES, len(values)))
    ends = np.quantile(_evaluate(values, objectives, ranges, draws), [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return [Importance(name, own[i], ends[0, i], ends[1, i], "") for i, name in enumerate(values)]


def _kept(trials: int) -> "Indices | slice":
    """Return the indices of the trials that are used: all, or a random sample if there are more than `MOST_TRIALS`."""
    if trials <= MOST_TRIALS:
        return slice(None)
    return np.sort(np.random.default_rng(0).choice(trials, MOST_TRIALS, replace=False))


def _too_little(values: pd.DataFrame, objectives: Numbers) -> str:
    if len(values) < TRIALS:
        return f"{len(values)} trials have a score, and importance needs {TRIALS}"
    if len(values.columns) == 1:
        return "it is the only hyperparameter that was searched"
    return "all trials have the same score" if np.ptp(objectives) == 0 else ""


def _evaluate(values: pd.DataFrame, objectives: Numbers, ranges: Ranges, draws: Indices) -> Numbers:
    """Compute the importances, (draws, hyperparameters), of the trials of each draw."""
    import optuna
    from optuna.importance import PedAnovaImportanceEvaluator, get_param_importances

    class Resampled(optuna.Study):
        """Study whose trials are replaced by a resample, without copying them."""

        def get_trials(self, deepcopy: bool = True, states: Any = None) -> list[Any]:
            return drawn

    distributions = {name: _distribution(values[name], ranges[name]) for name in values}
    storage, told = optuna.storages.InMemoryStorage(), optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # no log line for each study that is created
    study = optuna.create_study(study_name="record", storage=storage, direction="maximize")
    optuna.logging.set_verbosity(told)
    for params, objective in zip(values.astype(object).to_dict("records"), objectives, strict=True):
        study.add_trial(optuna.trial.create_trial(params=params, distributions=distributions, value=objective))
    trials, resampled = study.get_trials(deepcopy=False), Resampled("record", storage)
    evaluator = PedAnovaImportanceEvaluator(target_quantile=max(BEST, 5 / len(trials)))
    found = []
    with warnings.catch_warnings():
        # Optuna warns where a resample has a single value of a hyperparameter, or consists of its best part alone.
        warnings.simplefilter("ignore", UserWarning)
        for draw in draws:
            drawn = [trials[number] for number in draw]
            shares = get_param_importances(resampled, evaluator=evaluator, params=list(values))
            found.append([shares[name] for name in values])
    return np.array(found)


def _distribution(values: "pd.Series[Any]", searched: dict[str, Any]) -> "BaseDistribution":
    """Return the Optuna distribution that the sampler used; batch sizes, powers of two, are on a log scale."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if values.name == "optimizer":
        return CategoricalDistribution(sorted(values.unique()))
    low, high = min(searched["low"], values.min()), max(searched["high"], values.max())
    if values.name == "batch_size":
        return IntDistribution(int(low), int(high), log=True)
    return FloatDistribution(float(low), float(high), log=bool(searched.get("log")))


def _ranges(spaces: "pd.Series[str]", optimizer: str) -> Ranges:
    """Return the search ranges of the arm's last version, without hyperparameters whose range is a single point."""
    space = json.loads(spaces.iloc[-1]).get(optimizer, {})
    return {name: bounds for name, bounds in space.items() if bounds["low"] < bounds["high"]}


def _values(trials: pd.DataFrame, ranges: Ranges) -> pd.DataFrame:
    """Return the searched values, a row for each trial; hyperparameters that some trial lacks are left out."""
    configs = [json.loads(text) for text in trials["params_json"]]
    named = [{**config, **config.get("optimizer_options", {})} for config in configs]
    values = pd.DataFrame([[config.get(name) for name in ranges] for config in named], columns=list(ranges))
    for name in {"learning_rate", "batch_size"} & set(ranges):
        values[name] = trials[name].to_numpy()
    return values.dropna(axis=1)
