"""Headlines of the badges, each with its consequence: the conclusion of a reader, or the next thing to do."""

from collections.abc import Mapping

from analysis.stats.badge_checks import BAD, GOOD, UNKNOWN, Words

WORDS: Mapping[str, Mapping[str, Words]] = {
    "searches repeated": {
        GOOD: ("The search was repeated", "intervals hold its luck, so sentences may speak of optimizers"),
        BAD: ("Too few searches", "another search may choose differently, and no interval covers that"),
        UNKNOWN: ("Searches not known", "what they repeat is not in the record"),
    },
    "equal budget": {
        GOOD: ("Equal budgets", "no optimizer was searched longer than another"),
        BAD: ("Unequal budgets", "an optimizer with more trials looks better than it is"),
        UNKNOWN: ("Budgets not spent yet", "who leads may change until all trials have ended"),
    },
    "best inside its range": {
        GOOD: ("Ranges are wide enough", "no best value lies near the end of its range"),
        BAD: ("Ranges may be too narrow", "better values may lie outside; `tune-qat widen` writes the wider study"),
        UNKNOWN: ("Ranges not tried to their ends", "better values may lie where no trial has been"),
    },
    "early stopping keeps the best": {
        GOOD: ("Early stopping does no visible harm", "nothing speaks against the trials that went on"),
        BAD: (
            "Early stopping may have lost the best",
            "stop later; `tune-qat simulate RESULTS --compare` names the earliest rung that holds",
        ),
        UNKNOWN: ("Early stopping not checked", "too few trials ran to their end to tell whether it keeps the best"),
    },
    "the control can move": {
        GOOD: ("The control works", "32/32 can gain on its start, so that a change from it shows quantization"),
        BAD: ("The control cannot move", "a difference at few bits cannot be put down to quantization"),
        UNKNOWN: ("Control not judged", "whether a difference comes from quantization is not shown"),
    },
    "enough seeds": {
        GOOD: ("Enough seeds", "a difference as large as the margin can be seen"),
        BAD: ("Too few seeds", "differences as large as the margin cannot be seen"),
        UNKNOWN: ("Seeds not judged", "without seeds in common and a margin, how many it takes is not known"),
    },
    "special cases included": {
        GOOD: (
            "General forms keep up",
            "no optimizer loses to its own special case, so no search was visibly too short",
        ),
        BAD: ("A search was too short", "an optimizer loses to its own special case, which it contains"),
        UNKNOWN: ("No special cases", "nothing to check the length of the searches with"),
    },
    "test data seen once": {
        GOOD: ("Test data seen once", "nothing was chosen after a look at it"),
        BAD: ("Test data seen more than once", "scores may be optimistic: choices came after a look at them"),
        UNKNOWN: ("Test data not seen", "there are no scores on it yet"),
    },
    "better than trivial": {
        GOOD: ("All better than guessing", "every arm has learned more than the best constant prediction"),
        BAD: ("Some no better than guessing", "what an arm that has not learned is compared with says nothing"),
        UNKNOWN: ("Not all shown to have learned", "an arm without an interval may be no better than guessing"),
    },
    "one environment": {
        GOOD: ("One environment", "no difference comes from code, libraries or hardware"),
        BAD: ("Several environments", "a difference may come from code, libraries or hardware"),
        UNKNOWN: ("Environment not known", "no trial has ended yet"),
    },
    "no two runs alike": {
        GOOD: ("All runs differ", "every run counts as one of its own"),
        BAD: ("Some runs are identical", "those count as one: they are no independent votes"),
        UNKNOWN: ("Runs not compared yet", "no trial has ended yet"),
    },
}
"""Headline and consequence of each state of each check, where the check has no words of its own."""
