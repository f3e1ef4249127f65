"""The blocks of the page, in the order of a reviewer's questions."""

import pandas as pd

from analysis import figures
from analysis.answers import Answers
from analysis.figures.learning_curves import learning_curve_quartiles
from analysis.report.exhibits import Block, Exhibit, of_question, of_statistic
from analysis.report.studies import Scope, compared, randomly, retrained, tuned
from analysis.stats import probability_of_best
from analysis.stats.boards import BOARD

__all__ = ["BLOCKS", "Block", "Exhibit"]


def _quantized(scope: Scope) -> str | None:
    return retrained(scope) if scope.quantized else "No quantized arm, and so no quantizer."


def _of_layers(quantity: str, title: str, figure: object) -> Exhibit:
    return of_question(quantity, title, "layer_quantities", figure=figure, missing=_quantized)


def _curves(answers: Answers) -> pd.DataFrame:
    return learning_curve_quartiles(answers)


def _chances(answers: Answers) -> pd.DataFrame:
    """A row for each optimizer, a column for each budget."""
    chances = probability_of_best(answers)
    columns = [*BOARD, "optimizer"]
    wide = chances.assign(percent=(100 * chances["probability"].astype(float)).round(1)).pivot_table(
        index=columns, columns="k", values="percent", sort=False
    )
    return wide.rename(columns=lambda k: f"{k} trials").reset_index().rename_axis(columns=None)


BLOCKS: tuple[Block, ...] = (
    Block(
        "leaderboard",
        "Leaderboard",
        "Which optimizer is best?",
        "Mean on test data over retrain seeds, with a 95 % interval of Student's t. A trial that diverged, ran out of "
        "memory or failed counts as the best constant prediction, never as nothing. A triangle is off the scale.",
        (of_question("leaderboard", "Leaderboard", "leaderboard", missing=retrained),),
    ),
    Block(
        "quantization",
        "Quantization",
        "Does quantization change the ranking?",
        "Lines that cross beyond their intervals are optimizers whose order depends on the bits.",
        (
            of_question(
                "bit_widths",
                "From floating point to few bits",
                "leaderboard",
                figure=figures.bit_widths,
                missing=compared,
            ),
        ),
    ),
    Block(
        "learning_rate",
        "Learning rate",
        "How sensitive is each optimizer to its learning rate?",
        "A panel for each optimizer, a point for each trial that ran to its end, a line through the best of each "
        "quarter decade. A trial that diverged or failed lies at the best constant prediction, as a cross. Grey is "
        "floating point, the tick at the bottom the optimizer's default.",
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
            of_question("edge_of_range", "Best values and the ends of their ranges", "edge_of_range", missing=tuned),
        ),
    ),
    Block(
        "tuning_budget",
        "Tuning budget",
        "What does a tuning budget buy?",
        "Expected best validation metric after so many random trials. The 95 % bands (of the median) of the two that "
        "lead at the end are shaded. A curve is faint where its band no longer tells how good the best can be.",
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
                "Chance in percent to be the best of all, each given so many random trials",
                _chances,
                ("tuning_scores",),
                'analysis.stats.probability_of_best("RESULTS")',
                missing=randomly,
            ),
            of_statistic("tunability", "Tunability", "tunability", ("tuning_scores",), missing=randomly, folded=True),
        ),
    ),
    Block(
        "learning_curves",
        "Learning curves",
        "How do the chosen configurations learn?",
        "Median over retrain seeds of the validation metric after each epoch, quartiles shaded.",
        (
            Exhibit(
                "learning_curves",
                "Validation metric while training",
                _curves,
                ("learning_curves",),
                'analysis.figures.learning_curves.learning_curve_quartiles("RESULTS")',
                figures.learning_curves,
                retrained,
            ),
        ),
    ),
    Block(
        "parallel_coordinates",
        "Parallel coordinates",
        "Which configurations are good?",
        "A line for each trial that ran to its end, the best tenth in its optimizer's colour.",
        (
            of_question(
                "parallel_coordinates",
                "Searched values beside the metric",
                "tuning_scores",
                figure=figures.parallel_coordinates,
                missing=tuned,
            ),
        ),
    ),
    Block(
        "divergence",
        "Divergence",
        "How often does training diverge?",
        "Share of default, random and search trials that diverged, with a 95 % Wilson interval.",
        (of_question("divergence", "Divergence", "divergence", figure=figures.divergence, missing=tuned),),
    ),
    Block(
        "quantizers",
        "Quantizers",
        "What do the quantizers do, layer by layer?",
        "Means over completed retrain trials. A weight oscillates when its code keeps turning around at the border of "
        "two bins; the share counts weights with more than 0.005 such turns a step.",
        (
            _of_layers("step_size", "Step size over that at the start", figures.step_size),
            _of_layers("oscillation", "Weights that oscillate", figures.oscillation),
        ),
    ),
)
