"""The blocks of the page, in the order of a reviewer's questions."""

import pandas as pd

from analysis import figures
from analysis.answers import Answers
from analysis.figures.learning_curves import learning_curve_quartiles
from analysis.report.exhibits import Block, Exhibit, of_question
from analysis.report.studies import Scope, compared, retrained, tuned

__all__ = ["BLOCKS", "Block", "Exhibit"]


def _quantized(scope: Scope) -> str | None:
    return retrained(scope) if scope.quantized else "No quantized arm, and so no quantizer."


def _of_layers(quantity: str, title: str, figure: object) -> Exhibit:
    return of_question(quantity, title, "layer_quantities", figure=figure, missing=_quantized)


def _curves(answers: Answers) -> pd.DataFrame:
    return learning_curve_quartiles(answers)


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
        "A panel for each optimizer: the best final validation metric in each quarter decade. A trial that diverged or "
        "failed lies at the best constant prediction, as a cross. Grey is floating point.",
        (
            of_question(
                "learning_rate", "Best by learning rate", "learning_rate", figure=figures.learning_rate, missing=tuned
            ),
            of_question("edge_of_range", "Best values and the ends of their ranges", "edge_of_range", missing=tuned),
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
