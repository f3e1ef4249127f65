"""Blocks about the record itself: two configurations side by side, and how it was made."""

from analysis.report.exhibits import Block, of_question

COMPARED = Block(
    "compare",
    "Two configurations",
    "Two configurations side by side",
    "The chosen configuration of each arm over its retrain seeds, its default and its best tuning trials. What "
    "differs is in bold; scores of different workloads, bits or metrics say nothing about each other.",
    (),
    before="compare.html.j2",
)

MADE = Block(
    "made",
    "How it was made",
    "How was this made?",
    "Versions, hardware and hashes, what a seed varied, and what each arm was given and spent.",
    (
        of_question("start", "Where trials started, and what was fixed before them", "start"),
        of_question("environments", "Code, libraries and devices", "environments"),
        of_question("budget", "Planned and spent, for each arm", "budget"),
        of_question(
            "identical_runs",
            "Runs that should differ and are bit-identical",
            "identical_runs",
            empty="None: all runs differ.",
        ),
        of_question("rung_correlation", "Would early stopping keep the right trials?", "rung_correlation", folded=True),
    ),
    before="made.html.j2",
)
