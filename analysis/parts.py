"""Study files, and the studies that they are parts of: the view `parts`."""

from analysis.answers import Answers, Results, answers

PARTS = "SELECT DISTINCT file_id, study_id FROM parts ORDER BY ALL"


def shown_as(results: "Results | Answers") -> dict[str, str]:
    """Return for each study file the name that its answers are under: its own, or that of several files together.

    A file that has not begun has no arms in the record, and is not named.
    """
    rows = answers(results).frame(PARTS)
    return dict(zip(rows["file_id"], rows["study_id"], strict=True))
