"""Check behind a badge: does ASHA's first rung keep the trials that end best?"""

from analysis.answers import Answers
from analysis.stats.badge_checks import BAD, GOOD, UNKNOWN, Finding
from tune_qat.results.early_stopping import ARMS, SHARE, TRIALS, Kept

SETTINGS = """SELECT DISTINCT study_id, scheduler, max_epochs, grace_epochs, planned_search
FROM whole_arms ORDER BY ALL"""


def keeps_best(asked: Answers, study_id: str) -> Finding:
    """Check whether the default and random trials, which nothing stops, refute ASHA's first rung."""
    arms = asked.frame(SETTINGS)
    arms = arms[arms["study_id"] == study_id]
    idle = (arms["planned_search"] == 0) | (arms["grace_epochs"] >= arms["max_epochs"])
    if ((arms["scheduler"] == "none") | idle).all():
        return GOOD, "Nothing is stopped early."
    rows = asked.frame("rung_correlation")
    rows = rows[rows["study_id"] == study_id]
    first = rows[(rows["rung"] == rows["rung"].min()) & (rows["unstopped"] >= TRIALS)]
    if len(first) < ARMS:
        return UNKNOWN, (
            f"To tell takes {TRIALS} default and random trials, which nothing stops, in each of {ARMS} arms; "
            f"{len(first)} have them."
        )
    found = Kept(int(first["rung"].iloc[0]), int(first["kept"].sum()), len(first))
    rung = f"At epoch {found.rung} of {arms['max_epochs'].max()}, ASHA's first rung"
    factor = f"{first['reduction_factor'].iloc[0]:g}"
    kept = f"the trial that ends best is in the share that goes on, one in {factor}, in {found.figures}"
    if found.refuted:
        advice = "`tune-qat simulate RESULTS --compare` names the earliest rung that holds."
        return BAD, f"{rung}, {kept}, below {SHARE:.0%}: the search may have stopped its best. {advice}"
    return GOOD, f"{rung}, {kept}: not refuted."
