"""Badges: checks to make before believing a comparison, each answered from the record as good, bad or unknown."""

from collections.abc import Callable
from dataclasses import dataclass

from analysis.answers import Answers, Results, answers
from analysis.stats import badge_checks as checks
from analysis.stats import design_checks, early_stopping
from analysis.stats.badge_words import WORDS

GOOD, BAD, UNKNOWN = checks.GOOD, checks.BAD, checks.UNKNOWN


@dataclass(frozen=True, slots=True, kw_only=True)
class Badge:
    """Result of one check of one study."""

    study_id: str
    name: str
    state: str
    """One of good, bad or unknown."""
    headline: str
    consequence: str
    """Conclusion of a reader, or the next thing to do."""
    sentence: str
    """Sentence on the finding, in full."""
    question: str
    """Bundled question whose rows the check read."""


@dataclass(frozen=True, slots=True)
class _Check:
    name: str
    question: str
    of_study: Callable[[Answers, str], checks.Finding]
    joint: bool = True
    """Whether the check applies to a joint search too, which compares no optimizers."""


CHECKS = (
    _Check("searches repeated", "start", design_checks.searches_repeated, joint=False),
    _Check("equal budget", "budget", checks.equal_budget, joint=False),
    _Check("best inside its range", "edge_of_range", checks.inside_range),
    _Check("early stopping keeps the best", "rung_correlation", early_stopping.keeps_best),
    _Check("the control can move", "retrain_scores", design_checks.control_moves, joint=False),
    _Check("enough seeds", "retrain_scores", checks.enough_seeds, joint=False),
    _Check("special cases included", "retrain_scores", checks.inclusion, joint=False),
    _Check("test data seen once", "retrain_scores", design_checks.tested_once),
    _Check("better than trivial", "leaderboard", checks.better_than_trivial),
    _Check("one environment", "environments", checks.one_environment),
    _Check("no two runs alike", "identical_runs", checks.no_identical_runs),
)


def badges(results: "Results | Answers") -> list[Badge]:
    """Return eleven badges for each comparison study and six for each joint one, in the order of `start`.

    Raises the errors of `analysis.open`.
    """
    asked = answers(results)
    studies = asked.frame("start")[["study_id", "mode"]].itertuples(index=False)
    return [
        _badge(check, asked, study_id)
        for study_id, mode in studies
        for check in CHECKS
        if check.joint or mode != "joint"
    ]


def _badge(check: _Check, asked: Answers, study_id: str) -> Badge:
    state, sentence, *own = check.of_study(asked, study_id)
    headline, consequence = own[0] if own else WORDS[check.name][state]
    return Badge(
        study_id=study_id,
        name=check.name,
        state=state,
        headline=headline,
        consequence=consequence,
        sentence=sentence,
        question=check.question,
    )
