"""Blocks on the tuning stages, on validation data."""

import pandas as pd

from analysis import figures
from analysis.answers import Answers, Results
from analysis.figures.kept import kept
from analysis.report.exhibits import Block, Exhibit, of_question, of_statistic
from analysis.report.studies import randomly, tuned
from analysis.stats import probability_of_best
from analysis.stats.boards import ARM

LEARNING_RATE = Block(
    "learning_rate",
    "Learning rate",
    "How sensitive is each optimizer to its learning rate?",
    "A panel for each optimizer, a point for each trial that ran to its end, a line through the best of each "
    "quarter decade. A trial that diverged or failed is a cross at the best constant prediction; scores far "
    "worse than most are triangles at the edge of the panel. Grey is floating point, the tick at the bottom the "
    "optimizer's default, which stands behind its name where rates are drawn over it.",
    (
        of_statistic(
            "learning_rate",
            "Final validation metric by learning rate",
            "learning_rate_envelope",
            ("tuning_scores",),
            figure=figures.learning_rate,
            missing=tuned,
        ),
        of_statistic(
            "learning_rate_sensitivity",
            "The shape of each curve in numbers",
            "learning_rate_sensitivity",
            ("tuning_scores",),
            missing=tuned,
        ),
        of_question("learning_rate_bins", "Trials by quarter decade", "learning_rate", missing=tuned, folded=True),
        of_question(
            "edge_of_range", "Best values and the ends of their ranges", "edge_of_range", missing=tuned, folded=True
        ),
    ),
)

BATCH_SIZE = Block(
    "batch_size",
    "Batch size",
    "Which learning rate does each batch size need?",
    "Best validation metric by batch size and half decade of learning rate, for the five best of each board that tried "
    "two rates or more at three batch sizes or more; darker is better. Rings are the best rate of each batch "
    "size, the line is the fitted law rate ~ batch size ^ p: p = 1 is linear scaling, 0.5 square-root scaling.",
    (
        of_question(
            "batch_size", "Learning rate by batch size", "batch_size", figure=figures.batch_size, missing=tuned
        ),
        of_statistic("rate_scaling", "The fitted exponent", "rate_scaling", ("tuning_scores",), missing=tuned),
        of_statistic(
            "critical_batch_size",
            "Critical batch size: where larger batches stop saving steps",
            "critical_batch_size",
            ("steps_to_target",),
            missing=tuned,
            folded=True,
        ),
    ),
)


def _chances(results: Results | Answers) -> pd.DataFrame:
    """Return the probabilities to be best in percent: a row for each optimizer, a column for each budget."""
    chances = kept(probability_of_best, results)
    percent = (100 * chances["probability"].astype(float)).round(1)
    wide = chances.assign(percent=percent).pivot_table(index=ARM, columns="k", values="percent", sort=False)
    return wide.rename(columns=lambda k: f"{k} trials").reset_index().rename_axis(columns=None)


TUNING_BUDGET = Block(
    "tuning_budget",
    "Tuning budget",
    "What does a tuning budget buy?",
    "The best validation score to expect from a number of random trials. The 95 % bands (of the median) of the two "
    "that lead at the end, drawn bold, are shaded. A curve is dotted where its band no longer bounds how good the best "
    "can be; a triangle is off the scale.",
    (
        of_statistic(
            "tuning_budget",
            "Expected best by number of random trials",
            "tuning_curves",
            ("tuning_scores",),
            figure=figures.tuning_budget,
            missing=randomly,
        ),
        of_statistic(
            "gain_from_tuning",
            "Tuned minus documented default",
            "gain_from_tuning",
            ("tuning_scores", "retrain_scores"),
            missing=tuned,
        ),
        Exhibit(
            "probability_of_best",
            "Probability in percent to be the best of all, by number of random trials of each",
            _chances,
            ("tuning_scores",),
            'analysis.stats.probability_of_best("RESULTS")',
            missing=randomly,
        ),
        of_statistic("tunability", "Tunability", "tunability", ("tuning_scores",), missing=randomly, folded=True),
        of_question("expected_best", "Expected best in SQL alone", "expected_best", missing=randomly, folded=True),
    ),
)

IMPORTANCE = Block(
    "importance",
    "Importance",
    "Which hyperparameters matter?",
    "How much each hyperparameter sets the best trials of an arm apart from all of them (PED-ANOVA), with a 95 % "
    "interval (bootstrap over the trials).",
    (
        of_statistic(
            "importance",
            "Importance of each hyperparameter",
            "importances",
            ("tuning_scores",),
            figure=figures.importance,
            missing=tuned,
        ),
        of_statistic(
            "board_importance",
            "Optimizer, learning rate (over its default) or batch size?",
            "board_importances",
            ("tuning_scores",),
            missing=tuned,
        ),
    ),
)

PARALLEL_COORDINATES = Block(
    "parallel_coordinates",
    "Parallel coordinates",
    "Which configurations are good?",
    "A line for each trial with a score, the best tenth in the colour of its optimizer.",
    (
        of_question(
            "parallel_coordinates",
            "Searched values beside the metric",
            "tuning_scores",
            figure=figures.parallel_coordinates,
            missing=tuned,
        ),
    ),
)
