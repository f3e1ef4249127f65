"""Studies whose search has several objectives, and which so have a front in place of a best configuration."""

from analysis.answers import Answers

FRONTS = "SELECT DISTINCT study_id FROM whole_arms WHERE objectives_json IS NOT NULL"


def fronts(asked: Answers) -> frozenset[str]:
    """Return the names of these studies, as answers show them."""
    found = asked.frame(FRONTS)
    return frozenset(map(str, found["study_id"]))
