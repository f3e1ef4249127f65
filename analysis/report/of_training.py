"""Blocks on training: learning curves, divergence and quantizers."""

from typing import Any

from analysis import figures
from analysis.figures.learning_curves import learning_curve_quartiles
from analysis.report.exhibits import Block, Exhibit, of_question
from analysis.report.studies import Scope, retrained, tuned


def _quantized(scope: Scope) -> str | None:
    return retrained(scope) if scope.quantized else "The study has no quantized arm."


def _of_layers(quantity: str, title: str, figure: Any) -> Exhibit:
    return of_question(quantity, title, "layer_quantities", figure=figure, missing=_quantized)


LEARNING_CURVES = Block(
    "learning_curves",
    "Learning curves",
    "How do the chosen configurations learn?",
    "Median over retrain seeds of the validation metric after each epoch, for the ten best, with the quartiles of the "
    "best two shaded. A seed that diverged counts as the best constant prediction from then on. A triangle is off the "
    "scale.",
    (
        Exhibit(
            "learning_curves",
            "Validation metric while training",
            learning_curve_quartiles,
            ("learning_curves",),
            'analysis.figures.learning_curves.learning_curve_quartiles("RESULTS")',
            figures.learning_curves,
            retrained,
        ),
    ),
)

DIVERGENCE = Block(
    "divergence",
    "Divergence",
    "How often does training diverge?",
    "Share of the tuning trials that diverged, with a 95 % interval (Wilson).",
    (of_question("divergence", "Divergence", "divergence", figure=figures.divergence, missing=tuned),),
)

QUANTIZERS = Block(
    "quantizers",
    "Quantizers",
    "What do the quantizers do, layer by layer?",
    "Means over completed retrain trials. A weight oscillates when its code keeps switching between two neighbouring "
    "values; the share counts weights with more than 0.005 oscillations per step. Optimizers in whose layers nothing "
    "moves are named below.",
    (
        _of_layers("step_size", "Step size over that at the start", figures.step_size),
        _of_layers("oscillation", "Weights that oscillate", figures.oscillation),
        of_question(
            "oscillation_and_metric",
            "Do trials that oscillate score less?",
            "oscillation_and_metric",
            missing=_quantized,
            folded=True,
        ),
        of_question("batch_norm_gap", "Batch norm re-estimated", "batch_norm_gap", missing=_quantized, folded=True),
    ),
)
