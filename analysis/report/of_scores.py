"""Blocks on the scores of the chosen configurations on test data."""

from analysis import figures
from analysis.report.board import standing
from analysis.report.exhibits import Block, Exhibit, of_question, of_statistic
from analysis.report.studies import calibrated, compared, costed, ranked, retrained

UNPUBLISHED = "No published number for this model on this dataset is known to us."

VERDICT = Block(
    "verdict",
    "Verdict",
    "The verdict in words",
    "These sentences follow from the intervals by fixed rules, and may say that nothing can be told. They speak of the "
    "configurations that a search found, and of optimizers only where the search was repeated often enough.",
    (),
    before="verdict.html.j2",
    questions=(
        *("retrain_scores", "budget", "leaderboard", "start", "identical_runs"),
        *("edge_of_range", "environments"),  # read by the badges
    ),
)

LEADERBOARD = Block(
    "leaderboard",
    "Leaderboard",
    "Which is best?",
    "Mean on test data over retrain seeds, with a 95 % interval (Student's t). A trial that diverged, ran out of "
    "memory or failed counts as the best constant prediction, never as nothing. A triangle is off the scale. "
    "Where searches were repeated often enough to rank optimizers, those that share a letter cannot be told apart, "
    "those that share a number are equivalent, and P(best) is the posterior probability of the best mean.",
    (
        Exhibit(
            "leaderboard",
            "Leaderboard",
            standing,
            ("leaderboard", "retrain_scores", "budget", "calibration"),
            'analysis.frame("RESULTS", "leaderboard") and analysis.stats.standings("RESULTS")',
            missing=retrained,
        ),
        of_statistic(
            "comparisons",
            "Every two optimizers: differences with intervals, corrected over all pairs (Holm)",
            "comparisons",
            ("retrain_scores", "start"),
            missing=ranked,
            folded=True,
        ),
        of_statistic(
            "collapses",
            "Collapse: repeats, or seeds, in which a run failed or learned nothing",
            "collapses",
            ("retrain_scores",),
            missing=retrained,
            folded=True,
        ),
        of_statistic(
            "spread_over_repeats",
            "Spread of each difference over repeats, without that of seeds (REML)",
            "spread_over_repeats",
            ("retrain_scores", "start"),
            missing=ranked,
            folded=True,
        ),
        of_statistic(
            "chances",
            "Chance that a run of one optimizer beats a run of the other",
            "chances",
            ("retrain_scores", "start"),
            missing=ranked,
            folded=True,
        ),
        of_statistic(
            "start_effects",
            "Does the optimizer of the start change a difference?",
            "start_effects",
            ("retrain_scores", "start"),
            missing=ranked,
            folded=True,
        ),
        of_statistic(
            "differences_over_images",
            "Differences over repeats and test images",
            "differences_over_images",
            ("retrain_scores", "start"),
            missing=ranked,
            folded=True,
        ),
        of_statistic(
            "detectable_differences",
            "The smallest difference that these seeds can detect",
            "detectable_differences",
            ("retrain_scores", "start"),
            missing=ranked,
            folded=True,
        ),
        of_question("time_to_target", "Device seconds to a good result", "time_to_target", missing=ranked, folded=True),
    ),
)

COST = Block(
    "cost",
    "Accuracy against cost",
    "What does accuracy cost in bytes and operations?",
    "Test score of each scheme, trained by the optimizer that does best on validation data, and calibrated only. Costs "
    "are for one training sample. Faint points are dominated: another one that costs no more is better by the whole "
    "interval. Where intervals overlap, points cannot be told apart.",
    (
        of_question("pareto", "Score against bytes and operations", "pareto", figure=figures.pareto, missing=costed),
        of_question("cost", "What each scheme costs", "cost", folded=True, missing=costed),
    ),
)

QUANTIZATION = Block(
    "quantization",
    "Quantization",
    "Does quantization change the ranking?",
    "How much more one optimizer loses than another from 32/32 (its control) to few bits: an interval without zero "
    "shows that quantization changes the ranking. A ranking that is the same at 32/32 is not due to quantization. "
    "Where no 32/32 arm gains more than the margin over its start, the control tells nothing; one from a worsened "
    "start, where there is one, then takes its place.",
    (
        of_statistic(
            "beginnings",
            "On validation data: the start, after calibration, and at the end",
            "beginnings",
            ("retrain_scores",),
            missing=retrained,
            folded=True,
        ),
        of_question(
            "quantization_effect",
            "What each loses less than the reference, or than the median of the board, paired by seed",
            "quantization_effect",
            figure=figures.quantization_effect,
            missing=compared,
        ),
        of_question(
            "bit_widths",
            "From floating point to few bits",
            "leaderboard",
            figure=figures.bit_widths,
            missing=compared,
        ),
        of_question(
            "calibration",
            "What calibration alone costs, and what training wins back",
            "calibration",
            figure=figures.calibration,
            missing=calibrated,
        ),
        of_statistic(
            "interaction_test",
            "Does quantization change any difference between two optimizers?",
            "interaction_tests",
            ("retrain_scores",),
            missing=compared,
            empty="No two optimizers have two seeds in common, at these bits and at 32/32: no interval, and no test.",
        ),
        of_statistic(
            "interaction",
            "Every two optimizers: what the first gains on the other from quantization, against each control",
            "interactions",
            ("retrain_scores", "start"),
            missing=compared,
            folded=True,
        ),
        of_statistic(
            "quantization_effects",
            "What quantization does to each optimizer",
            "quantization_effects",
            ("retrain_scores",),
            missing=compared,
            folded=True,
        ),
        of_statistic(
            "near_ceiling",
            "Scores near a ceiling: error ratios, and the share of the quantization loss that training recovers",
            "near_ceiling",
            ("retrain_scores",),
            missing=compared,
            folded=True,
        ),
        of_question(
            "generalization_gap",
            "Does quantization regularise: train metric minus test metric",
            "generalization_gap",
            missing=retrained,
            folded=True,
        ),
    ),
)

RANKS = Block(
    "ranks",
    "Ranks over workloads",
    "Which optimizers lead over all workloads?",
    "Each workload, a pair of model and data, counts once, however many seeds it has; bits, methods and kinds of start "
    "are ranked apart. The test takes six workloads; with fewer, nothing is said of optimizers in general.",
    (
        of_statistic(
            "mean_ranks",
            "Mean rank of each optimizer",
            "mean_ranks",
            ("retrain_scores",),
            figure=figures.critical_differences,
            empty="No optimizer has a retrain score on every workload.",
        ),
        of_statistic(
            "rank_comparisons",
            "Every two optimizers by rank",
            "rank_comparisons",
            ("retrain_scores",),
            folded=True,
            empty="Pairs of mean ranks are not compared, for the same reason.",
        ),
        of_statistic(
            "pooled_differences",
            "Differences over all boards of a study, in margins",
            "pooled_differences",
            ("retrain_scores", "start"),
            folded=True,
        ),
        of_statistic(
            "interquartile_means",
            "Interquartile means of normalised scores",
            "interquartile_means",
            ("retrain_scores",),
            folded=True,
        ),
        of_statistic(
            "probabilities_of_improvement",
            "Probability that a run of a beats a run of b",
            "probabilities_of_improvement",
            ("retrain_scores",),
            folded=True,
        ),
        of_statistic(
            "time_to_target_scores",
            "Time to a good result, scored as AlgoPerf does",
            "time_to_target_scores",
            ("time_to_target",),
            folded=True,
        ),
    ),
    whole=True,
)

PUBLISHED = Block(
    "published",
    "Published numbers",
    "What was published for this workload?",
    "Published numbers are open markers, ours filled; the best constant prediction is a dashed line. Splits, budgets "
    "and starts differ: the recipe and the note of each number say how.",
    (of_question("published", "Published beside ours", "published", figure=figures.published, empty=UNPUBLISHED),),
)
