"""Report of a simulation as tables."""

from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from tune_qat.results.early_stopping import ARMS, TRIALS, kept_at
from tune_qat.simulate import rungs as kept
from tune_qat.simulate import summary
from tune_qat.simulate.compare import Setting, choose
from tune_qat.simulate.loop import Simulation
from tune_qat.simulate.source import Source
from tune_qat.study.used_up import used_up
from tune_qat.text.tables import table_text

SOURCES = {
    "recorded": "the same configuration",
    "neighbour": "the nearest recorded one",
    "extrapolated": "extrapolation, where ASHA had stopped the recorded trial",
}


def report(
    source: Source, done: Simulation, settings: Sequence[Setting], *, workers_given: bool, at_equal_time: bool
) -> str:
    """Write a block each for the source, cost, arms, time, rungs and ASHA settings, labelled if it is a formula's."""
    blocks = [_heading(source, done, workers_given), _cost(done), _arms(source, done), *_fronts(done)]
    blocks.append(_over_time(source, done))
    blocks += [_rungs(done), *([_compared(source, done, settings, at_equal_time)] if settings else [])]
    return "\n\n".join(f"{source.label}{block}" for block in blocks)


def _heading(source: Source, done: Simulation, workers_given: bool) -> str:
    study, record = source.study, source.record
    if record is None:
        lines = [
            f"study {study.name} with curves of a formula",
            f"  metric   a score from 0 to 1 in place of {study.judgement.metric}; no number comes from a real network",
        ]
    else:
        stopped = f", {record.stopped} of them stopped by ASHA" if record.stopped else ""
        shares = summary.sources(done)
        epochs = ", ".join(f"{shares.get(name, 0.0):.1%} {words}" for name, words in SOURCES.items())
        lines = [
            f"study {study.name} replayed from {source.where}; nothing is trained",
            f"  record   {record.trials} trials with {record.epochs} epochs{stopped}",
            f"  epochs   {epochs}",
        ]
    asha = f"ASHA at epoch {', '.join(map(str, study.rungs))}, reduction factor {study.asha.reduction_factor}"
    why = "" if workers_given or record is None else ", as many as the record ran at once"
    lines += [
        f"  search   {study.search.sampler}, {asha if study.rungs else 'nothing is stopped early'}",
        f"  workers  {done.workers}{why}",
        f"  seed     {study.seed}",
        *(f"  space    {sentence}" for sentence in used_up(study)),
    ]
    return "\n".join(lines)


def _fronts(done: Simulation) -> list[str]:
    """Return the table of the chosen points, of a study with several objectives."""
    points = summary.fronts(done) if done.queue.objectives.several else []
    if not points:
        return []
    lines = [
        "front: what is trained again, the best metric first; best and regret above are those of the first",
        table_text(pd.DataFrame(points), count=False),
    ]
    return ["\n".join(lines)]


def _cost(done: Simulation) -> str:
    found = summary.cost(done)
    rows = [
        ["simulated", f"{found['trials']} of {found['planned']}", found["stopped"], found["diverged"], found["epochs"],
         _span(found["device_hours"]), _span(found["hours"])],
        ["the same trials, none stopped", str(found["trials"]), 0, found["diverged"], found["epochs_without_asha"],
         _span(found["device_hours_without_asha"]), "-"],
    ]  # fmt: skip
    head = ["", "trials", "stopped by ASHA", "diverged", "epochs", "device time", "on the clock"]
    return _table("cost", head, rows)


def _arms(source: Source, done: Simulation) -> str:
    rows = summary.arms(done)
    shown = [
        [row["arm"], row["trials"], row["stopped"], row["diverged"], row["epochs"], row["without_asha"], row["best"],
         row["regret"], _winner(row)]
        for row in rows
    ]  # fmt: skip
    best = "recorded trial of the arm" if source.record else "score that the formula has, without noise,"
    notes = [
        f"regret: by how much the best {best} is better",
        "winner: the search trial whose whole curve ends best, and whether ASHA kept it",
    ]
    if any(row["winner"] == "unknown" for row in rows):
        notes.append("unknown: it may be a trial that ASHA stopped in the record, whose end is extrapolated")
    known = [row["winner"] for row in rows if row["winner"] in ("kept", "stopped")]
    title = f"arms: the winner was kept in {known.count('kept')} of the {len(known)} where that is known"
    head = ["arm", "trials", "stopped", "diverged", "epochs", "none stopped", "best", "regret", "winner"]
    return _table(title, head, shown, notes)


def _winner(row: Mapping[str, Any]) -> str:
    return f"stopped at {row['lost_at']}" if row["winner"] == "stopped" else row["winner"] or "-"


def _over_time(source: Source, done: Simulation) -> str:
    rows = [
        [_span(row["hours"]), row["trials"], row["arms_with_a_result"], row["regret"], row["largest_regret"],
         row["within_margin"]]
        for row in summary.over_time(done, source.margin)
    ]  # fmt: skip
    head = ["on the clock", "trials ended", "arms with a result", "mean regret", "largest", f"within {source.margin:g}"]
    return _table("what a budget buys", head, rows)


def _rungs(done: Simulation) -> str:
    study, whole = done.study, kept.whole_curves(done)
    rows = kept.rungs(study, whole)
    if not rows:
        why = f"no arm has {kept.FEW} curves that reach the end" if study.rungs else "nothing is stopped early"
        return f"rungs: {why}, so they cannot be judged"
    shown = [
        [row["rung"], row["arms"], row["curves"], row["rank_correlation"], row["lowest"],
         f"{row['winner_kept']} of {row['arms']}", f"{row['top_kept']:.0%}"]
        for row in kept.over_arms(rows)
    ]  # fmt: skip
    lost = {rung: [row.arm_id for row in rows if row.rung == rung and not row.winner_kept] for rung in study.rungs}
    notes = [f"the best would be lost at {rung}: {', '.join(arms)}" for rung, arms in lost.items() if arms]
    survivors = sum(one.survivors for one in whole)
    if survivors:
        notes.append(
            f"biased in favour of ASHA in {survivors} of {len(whole)} arms: with fewer than {kept.FEW} default and "
            "random trials, survivors of ASHA are among the curves; stages.random plans trials that ASHA never stops"
        )
    head = ["epoch", "arms", "curves", "rank correlation", "lowest arm", "best kept", f"best {kept.TOP} kept"]
    title = f"rungs: how well an epoch predicts the end, and what its upper 1/{study.asha.reduction_factor} would keep"
    return _table(title, head, shown, notes)


def _compared(source: Source, done: Simulation, settings: Sequence[Setting], at_equal_time: bool) -> str:
    without = next(one for one in settings if one.grace_epochs is None)
    rows = [
        [setting_name(one), ", ".join(map(str, one.rungs)) or "-", round(one.trials), round(one.epochs),
         f"{one.epochs / without.epochs:.0%}" if without.epochs else "-", _span(one.hours), one.regret, one.error,
         one.largest_regret, _percent(one.winners_lost), _percent(one.extrapolated), _first_rung(one)]
        for one in settings
    ]  # fmt: skip
    head = ["setting", "rungs", "trials", "epochs", "of no ASHA", "on the clock", "regret", "+-", "worst arm"]
    notes = ["regret: mean over arms and seeds, with its standard error over seeds; worst arm: mean over seeds"]
    if source.record and any(one.extrapolated for one in settings):
        notes.append("extrapolated epochs are a guess; a study with asha.enabled = false records whole curves")
    chosen = choose(settings, source.margin, at_equal_time=at_equal_time)
    fewest = f"the fewest epochs of those whose regret is within {source.margin:g} of that without ASHA"
    why = "the least regret in this time" if at_equal_time else fewest
    name = setting_name(chosen).removesuffix(" *") if chosen else ""
    notes += [_earliest(done), f"choose {name}: {why}" if chosen else "too few trials have ended for a choice"]
    columns = [*head, "winners lost", "extrapolated", "best kept at the first rung"]
    return _table("settings of ASHA, * the study's own", columns, rows, notes)


def _first_rung(setting: Setting) -> str:
    found = setting.best_kept
    if found is None or not found.enough:
        return "unknown" if found else "-"
    return f"{found.kept} of {found.arms}{' (refuted)' if found.refuted else ''}"


def _earliest(done: Simulation) -> str:
    """Name the earliest first rung that keeps the best default and random trials, or say why none is named."""
    factor, found = done.study.asha.reduction_factor, kept.earliest(done)
    if found is not None:
        return (
            f"the earliest first rung that holds is epoch {found.rung}: one in {factor} has the best in {found.figures}"
        )
    first = kept_at(1, kept.evidence(done), factor)
    if first.enough:
        return "no first rung holds: switch early stopping off, asha.enabled = false"
    takes = f"{TRIALS} default and random trials in each of {ARMS} arms"
    return f"which first rung holds is unknown: to tell takes {takes}, and {first.arms} have them"


def setting_name(setting: Setting) -> str:
    """Format a setting, such as `grace 1, factor 3`, with a star for the study's own."""
    own = " *" if setting.own else ""
    if setting.grace_epochs is None:
        return f"no ASHA{own}"
    return f"grace {setting.grace_epochs}, factor {setting.reduction_factor}{own}"


def _table(title: str, head: Sequence[str], rows: Sequence[Sequence[Any]], notes: Sequence[str] = ()) -> str:
    frame = pd.DataFrame({name: [row[at] for row in rows] for at, name in enumerate(head)}, dtype=object)
    table = table_text(frame.infer_objects(), count=False)
    return "\n".join([title, table, *(f"  {note}" for note in notes)])


def _span(hours: float) -> str:
    """Format a duration in h, min or s."""
    if hours >= 1:
        return f"{hours:.1f} h"
    return f"{hours * 60:.1f} min" if hours * 60 >= 1 else f"{hours * 3600:.0f} s"


def _percent(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"
