"""Checks behind the badges about a study's design: what it repeats, what its control can tell, who saw test data."""

from collections.abc import Sequence

from analysis.answers import Answers
from analysis.parts import shown_as
from analysis.stats.badge_checks import BAD, GOOD, UNKNOWN, Finding
from analysis.stats.beginnings import controls
from analysis.stats.retrained import FLOAT_BITS
from analysis.stats.scope import DRAWN_ANEW, FEWEST_REPEATS, Design, designs
from analysis.stats.words import counted, joined
from tune_qat.results.views import read_sql


def searches_repeated(asked: Answers, study_id: str) -> Finding:
    """Check whether the search is repeated, so that intervals hold its luck."""
    design = designs(asked).get(study_id, Design())
    if design.planned == 1:
        return BAD, (
            "One search an arm: intervals cover the order of the data alone, and another search moves an arm by "
            "several times their width."
        )
    repeats = f"{design.planned} searches an arm"
    if not design.varies >= DRAWN_ANEW:
        missing = joined(sorted(DRAWN_ANEW - design.varies))
        return BAD, f"{repeats}, but the record does not say that each draws its {missing} anew."
    if not design.own:
        return BAD, f"{repeats}, but several arms share one design of the search, and with it their luck."
    varied = f"each draws anew: {joined(sorted(design.varies))}"
    if design.planned < FEWEST_REPEATS:
        return BAD, f"{repeats}, {varied}; from {FEWEST_REPEATS} on, sentences may speak of optimizers."
    return GOOD, f"{repeats}, {varied}; every arm has a design of its own."


def control_moves(asked: Answers, study_id: str) -> Finding:
    """Check whether a floating-point arm beats its start by the margin, so that the control can show a difference."""
    arms = asked.frame(
        "SELECT DISTINCT study_id, workload, weight_bits, activation_bits, margin FROM whole_arms ORDER BY ALL"
    )
    arms = arms[arms["study_id"] == study_id]
    at_32 = arms[(arms["weight_bits"] == FLOAT_BITS) & (arms["activation_bits"] == FLOAT_BITS)]
    if at_32.empty:
        return UNKNOWN, "The study has no 32/32 arm, and so no floating-point control."
    if at_32["margin"].isna().all():
        return UNKNOWN, "The study names no margin that a gain over the start would have to reach."
    found = {key[-1]: control for key, control in controls(asked).items() if key[0] == study_id}
    plain = found.pop(None, None)
    if plain is None:
        return UNKNOWN, "What the 32/32 arms began with or ended with is not in the record."
    if plain.moves:
        return GOOD, plain.sentence
    told = " ".join([plain.sentence, *(control.sentence for control in found.values())])
    quantized = arms[(arms["weight_bits"] < FLOAT_BITS) | (arms["activation_bits"] < FLOAT_BITS)]
    bits = {f"{row.weight_bits:g}/{row.activation_bits:g}" for row in quantized.itertuples()}
    moved = {of for of, control in found.items() if control.moves}
    if bits and bits <= moved:
        return GOOD, f"The control from the start itself cannot move, that from a worsened start can. {told}"
    lacking = f" at {joined(sorted(bits - moved))}" if moved else ""
    return BAD, f"The control{lacking} cannot move. {told}"


def tested_once(asked: Answers, study_id: str) -> Finding:
    """Count the trials that saw test data, those of configurations that were replaced since apart."""
    files = [name for name, shown in shown_as(asked).items() if shown == study_id]
    return tested(asked, files)


def tested(asked: Answers, files: Sequence[str]) -> Finding:
    """Count the same of these study files."""
    rows = asked.frame(read_sql(__file__, "test_seen"))
    rows = rows[rows["study_id"].isin(files)]
    if rows.empty:
        return UNKNOWN, "No trial has seen test data yet."
    row = rows[["current", "replaced", "arms_again", "arms"]].sum()
    seen = f"{counted(int(row['current'] + row['replaced']), 'trial')} saw test data"
    if not row["replaced"]:
        return GOOD, f"{seen}, all of them of the configurations that count."
    again = f"{row['arms_again']} of {counted(int(row['arms']), 'arm')} were tested with more than one configuration"
    return BAD, f"{seen}, {row['replaced']} of them of configurations that were replaced since: {again}."
