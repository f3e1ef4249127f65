"""Blocks of the page, in the order of a reviewer's questions."""

from analysis.report.exhibits import Block
from analysis.report.of_record import COMPARED, MADE
from analysis.report.of_scores import COST, LEADERBOARD, PUBLISHED, QUANTIZATION, RANKS, VERDICT
from analysis.report.of_training import DIVERGENCE, LEARNING_CURVES, QUANTIZERS
from analysis.report.of_tuning import BATCH_SIZE, IMPORTANCE, LEARNING_RATE, PARALLEL_COORDINATES, TUNING_BUDGET

__all__ = ["BLOCKS"]

BLOCKS: tuple[Block, ...] = (
    VERDICT,
    LEADERBOARD,
    QUANTIZATION,
    COST,
    LEARNING_RATE,
    BATCH_SIZE,
    TUNING_BUDGET,
    RANKS,
    LEARNING_CURVES,
    PARALLEL_COORDINATES,
    IMPORTANCE,
    DIVERGENCE,
    QUANTIZERS,
    PUBLISHED,
    COMPARED,
    MADE,
)
