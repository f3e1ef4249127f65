"""Statistics of the record: intervals, comparisons, verdicts. Each table is a function from results to a frame.

docs/statistics.md has the method of each, its source in the literature and its measured coverage.
"""

from analysis.stats.aggregates import interquartile_means, probabilities_of_improvement, time_to_target_scores
from analysis.stats.badges import Badge, badges
from analysis.stats.batch_scaling import critical_batch_size, rate_scaling
from analysis.stats.beginnings import beginnings
from analysis.stats.ceiling import near_ceiling
from analysis.stats.collapse import collapses
from analysis.stats.comparisons import comparisons
from analysis.stats.images import differences_over_images
from analysis.stats.importance import board_importances, importances
from analysis.stats.interaction import (
    interaction,
    interaction_test,
    interaction_tests,
    interactions,
    quantization_effects,
)
from analysis.stats.pooled import pooled_differences
from analysis.stats.power import detectable_differences
from analysis.stats.ranks import mean_ranks, rank_comparisons
from analysis.stats.sensitivity import learning_rate_envelope, learning_rate_sensitivity
from analysis.stats.spreads import chances, spread_over_repeats
from analysis.stats.standings import standings
from analysis.stats.start_effects import start_effects
from analysis.stats.starts import what_seeds_varied
from analysis.stats.tuning_budget import probability_of_best, tunability, tuning_curves
from analysis.stats.tuning_gain import gain_from_tuning
from analysis.stats.verdict import Verdict, verdicts

__all__ = [
    "Badge",
    "Verdict",
    "badges",
    "beginnings",
    "board_importances",
    "chances",
    "collapses",
    "comparisons",
    "critical_batch_size",
    "detectable_differences",
    "differences_over_images",
    "gain_from_tuning",
    "importances",
    "interaction",
    "interaction_test",
    "interaction_tests",
    "interactions",
    "interquartile_means",
    "learning_rate_envelope",
    "learning_rate_sensitivity",
    "mean_ranks",
    "near_ceiling",
    "pooled_differences",
    "probabilities_of_improvement",
    "probability_of_best",
    "quantization_effects",
    "rank_comparisons",
    "rate_scaling",
    "spread_over_repeats",
    "standings",
    "start_effects",
    "time_to_target_scores",
    "tunability",
    "tuning_curves",
    "verdicts",
    "what_seeds_varied",
]
