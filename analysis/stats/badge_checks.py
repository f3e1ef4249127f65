"""Checks behind the badges: each reads the answers about one study and returns a state and a sentence."""

import math

import pandas as pd

from analysis.answers import Answers
from analysis.stats.comparisons import comparisons
from analysis.stats.inclusions import checked, tried
from analysis.stats.power import detectable_differences
from analysis.stats.words import amount, between, counted, joined
from tune_qat.config.statuses import FINALISTS, RETRAIN, SEARCHED_STAGES

GOOD, BAD, UNKNOWN = "good", "bad", "unknown"
Words = tuple[str, str]
"""Headline and consequence of a badge."""
Finding = tuple[str, str] | tuple[str, str, Words]
"""State and sentence of a badge, and the words for it where those of its state will not do."""
TOLERANCE = 0.1
"""Relative deviation of device time from its board's mean up to which it counts as equal."""
LISTED = 3


def equal_budget(asked: Answers, study_id: str) -> Finding:
    """Check whether every arm was planned the same tuning budget, and say what was spent."""
    arms = _of(asked.frame("budget"), study_id)
    planned, ended = (
        int(arms[[f"{what}_{stage}" for stage in SEARCHED_STAGES]].sum().sum()) for what in ("planned", "ended")
    )
    if arms["equal"].isna().any() or not planned:
        return UNKNOWN, "What was planned for each arm is not in the record."
    if not arms["equal"].all():
        return BAD, f"Arms were planned different budgets: {_differing(arms)}."
    if ended < planned:
        return UNKNOWN, f"Every arm is planned the same; {ended} of {planned} tuning trials have ended so far."
    ratio = arms.dropna(subset="device_s_ratio").sort_values("device_s_ratio")
    same = f"Every arm was planned the same trials and epochs{_steps(asked, study_id)}"
    if ratio.empty or ratio["device_s_ratio"].sub(1).abs().max() <= TOLERANCE:
        return GOOD, f"{same}, and spent the same device time within {TOLERANCE:.0%}."
    least, most = ratio.iloc[0], ratio.iloc[-1]
    return GOOD, (
        f"{same}. Device time differs, as early stopping and the cost of a step do: from {least['device_s_ratio']:.2f} "
        f"({_arm(least)}) to {most['device_s_ratio']:.2f} ({_arm(most)}) of the mean at the same bits."
    )


def inside_range(asked: Answers, study_id: str) -> Finding:
    """Check whether the best values lie inside the ranges that were searched, not at an edge."""
    edges = _of(asked.frame("edge_of_range"), study_id)
    if edges.empty:
        return UNKNOWN, "No tuning trial has been completed yet: the best values are not known."
    near = edges[(edges["edge"] != "none") & ~edges["failed_again"]]
    values = counted(len(edges), "best value")
    if not near.empty:
        which = [f"{_dimension(row)} ({row['edge']})" for _, row in near.iterrows()]
        found = f"{len(near)} of {values} near an edge of its range; better ones may lie beyond it: {_listed(which)}."
        return BAD, f"{found} `tune-qat widen` writes the wider study."
    untried = edges[(edges["untried"] != "none") & ~edges["failed_again"]]
    failed = edges[(edges["edge"] != "none") & edges["failed_again"]]
    said = []
    if not untried.empty:
        which = [f"{_dimension(row)} ({row['untried']})" for _, row in untried.iterrows()]
        said.append(f"Well beyond {len(untried)} of {values} no trial has ended yet: {_listed(which)}.")
    if not failed.empty:
        which = [f"{_dimension(row)} ({row['edge']})" for _, row in failed.iterrows()]
        said.append(f"At an edge, but failed again with fresh seeds, so that nothing lies beyond: {_listed(which)}.")
    if said:
        return UNKNOWN, " ".join(said)
    return GOOD, "No arm's best value of a searched dimension lies near an edge of its range, or of what was tried."


def enough_seeds(asked: Answers, study_id: str) -> Finding:
    """Check whether the number of seeds, or repeats, suffices to detect a difference as small as the margin."""
    table = _of(detectable_differences(asked), study_id)
    if table.empty:
        return UNKNOWN, "No two optimizers have two seeds in common yet."
    if table["margin"].isna().all():
        return UNKNOWN, "The study names no margin below which a difference does not matter."
    row = table.loc[table["detectable"].idxmax()]
    margin, unit = float(row["margin"]), row["unit"]
    many = "repeats" if _of(asked.frame("start"), study_id)["repeats"].iloc[0] > 1 else "seeds"
    told, alone = amount(row["detectable"], unit), amount(row["detectable_alone"], unit)
    with_n = f"With {counted(int(row['n']), many.removesuffix('s'))} at {_bits(row)}"
    differ = f"{_pair(row)} have to differ by {told} to be told apart in 8 of 10 studies"
    seen = f"{with_n}, {differ} ({alone} for this pair alone)"
    if row["detectable"] <= margin:
        said = f"differences from {told} on can be seen; the margin is {amount(margin, unit)}"
        return GOOD, f"{seen}; the margin is {amount(margin, unit)}.", (f"Enough {many}", said)
    needed = row["n_for_margin"]
    takes = "more than 1,000" if math.isnan(needed) else f"{needed:.0f}"
    said = f"differences under {told} cannot be seen; for {amount(margin, unit)} it takes {takes} {many}"
    return (
        BAD,
        f"{seen}; a difference of the margin, {amount(margin, unit)}, needs {takes} {many}.",
        (
            f"Too few {many}",
            said,
        ),
    )


def inclusion(asked: Answers, study_id: str) -> Finding:
    """Check whether an optimizer lost to its own special case, which means that its search was too short."""
    options = tried(asked, study_id)
    pairs = _of(comparisons(asked), study_id)
    hold, violated = checked(pairs, options)
    if not hold:
        return (
            UNKNOWN,
            "No optimizer of the study has a trial at the special case that another one is.",
        )
    which = joined([f"{one.special} in {one.general}" for one in hold])
    if not violated.empty:
        cases = [
            f"{row['optimizer']} is better than {row['other']} by "
            f"{between(row['difference'], row['ci_low'], row['ci_high'], row['unit'])} at {_bits(row)}"
            for _, row in violated.iterrows()
        ]
        return BAD, f"A special case is better than its general form, whose search was too short: {_listed(cases)}."
    names = {frozenset((one.special, one.general)) for one in hold}
    compared = pairs[pairs["p"].notna()]
    if names.isdisjoint(map(frozenset, zip(compared["optimizer"], compared["other"], strict=True))):
        return UNKNOWN, f"No intervals yet for an optimizer and its special case ({which})."
    return GOOD, f"No special case is significantly better than its general form ({which})."


def better_than_trivial(asked: Answers, study_id: str) -> Finding:
    """Count the arms that beat the best constant prediction and other baselines without training."""
    board = _of(asked.frame("leaderboard"), study_id)
    scored = board[board["mean"].notna()]
    if scored.empty:
        return UNKNOWN, "No retrain trial has ended yet."
    sign = int(_of(asked.frame("start"), study_id)["sign"].iloc[0])
    beaten = _beaten(scored, "trivial", sign)
    total = len(board)
    said = [f"{beaten} of {counted(total, 'arm')} better than the best constant prediction, by the whole interval"]
    for baseline in ("nearest", "bicubic"):
        if scored[baseline].notna().any():
            said.append(f"{_beaten(scored, baseline, sign)} better than {baseline}")
    single = int(scored["ci_low"].isna().sum())
    if single and beaten < total:
        said.append(f"{single} without an interval")
    unsure = beaten + single == total and single
    return GOOD if beaten == total else UNKNOWN if unsure else BAD, "; ".join(said) + "."


def one_environment(asked: Answers, study_id: str) -> Finding:
    """Check whether all trials come from the same code, libraries and devices."""
    rows = _of(asked.frame("environments"), study_id)
    if rows.empty:
        return UNKNOWN, "No trial has ended yet."
    described = ["tune_qat_version", "git_commit", "torch_version", "ray_version", "optuna_version", "python_version"]
    of_machine = ["cuda_version", "device", "backend", "precision", "threads"]
    # A trial whose driver died behind its last epoch is ended by the next one, which does not know the machine.
    told = rows[rows[of_machine].notna().any(axis=1)]
    told = rows if told.empty else told
    mixed = [name for name in described if rows[name].nunique(dropna=False) > 1]
    mixed += [name for name in of_machine if told[name].nunique(dropna=False) > 1]
    if not mixed:
        return (
            GOOD,
            f"All {counted(int(rows['n'].sum()), 'trial')} that count come from the same code, libraries and device.",
        )
    values = {name: (told if name in of_machine else rows)[name].unique() for name in mixed}
    said = [f"{name.replace('_', ' ')} ({_listed([str(one) for one in found])})" for name, found in values.items()]
    return BAD, f"Trials come from {len(told)} environments, which differ in {joined(said)}."


def no_identical_runs(asked: Answers, study_id: str) -> Finding:
    """Check whether runs that should differ have bit-identical curves."""
    rows = _of(asked.frame("identical_runs"), study_id)
    if rows.empty:
        ended = _of(asked.frame("environments"), study_id)
        return (UNKNOWN, "No trial has ended yet.") if ended.empty else (GOOD, "No two runs have the same curve.")
    shared = rows[rows["n_optimizers"] > 1]
    alike = f"{counted(len(rows), 'bit-identical curve')} came from several runs that should differ"
    if shared.empty:
        return BAD, f"{alike}, each time of one optimizer."
    groups = [f"{row['optimizers'].replace(', ', ' = ')} at {_bits(row)}" for _, row in shared.iterrows()]
    return BAD, f"{alike}: {_listed(list(dict.fromkeys(groups)))}."


def _of(table: pd.DataFrame, study_id: str) -> pd.DataFrame:
    return table[table["study_id"] == study_id]


def _beaten(scored: pd.DataFrame, baseline: str, sign: int) -> int:
    """Count the arms whose whole interval is better than a baseline without training."""
    worse_end = scored["ci_low"] if sign > 0 else -scored["ci_high"]
    return int((worse_end > sign * scored[baseline]).sum())


def _differing(arms: pd.DataFrame) -> str:
    columns = {f"planned_{stage}": f"{stage} trials" for stage in (*SEARCHED_STAGES, FINALISTS, RETRAIN)}
    columns["max_epochs"] = "epochs"
    return joined(
        [f"from {arms[c].min()} to {arms[c].max()} {name}" for c, name in columns.items() if arms[c].nunique() > 1]
    )


def _arm(row: pd.Series) -> str:
    return f"{row['optimizer']} at {_bits(row)}"


def _steps(asked: Answers, study_id: str) -> str:
    """Return a clause that the same epochs are not the same steps, where chosen batch sizes differ."""
    sizes = _of(asked.frame("retrain_scores"), study_id)["batch_size"]
    if sizes.nunique() < 2:
        return ""
    return f", which are not the same steps (chosen batch sizes are {sizes.min():.0f} to {sizes.max():.0f})"


def _pair(row: pd.Series) -> str:
    return f"{row['optimizer']} and {row['other']}, the {row['pair']},"


def _dimension(row: pd.Series) -> str:
    return f"{row['dimension'].replace('_', ' ')} of {_arm(row)}"


def _bits(row: pd.Series) -> str:
    return f"{row['weight_bits']:.0f}/{row['activation_bits']:.0f}"


def _listed(items: list[str]) -> str:
    """Return all items joined, or the first three and the number of the others."""
    return joined(items if len(items) <= LISTED + 1 else [*items[:LISTED], f"{len(items) - LISTED} more"])
