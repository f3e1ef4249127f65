"""The page's opening: for each board who leads, with which learning rate and batch size, and by how much."""

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from analysis.answers import Answers
from analysis.figures.boards import labels
from analysis.figures.kept import kept
from analysis.report.answer_words import JOINT, NOTHING, ON_FRONT, Head, head, what_follows
from analysis.report.board import standing, titled
from analysis.report.chosen import chosen_toml
from analysis.report.decimals import decimals_of
from analysis.report.facts import facts
from analysis.report.forest import forest
from analysis.report.studies import heading
from analysis.stats import comparisons
from analysis.stats.boards import BOARD
from analysis.stats.fronts import fronts
from analysis.stats.ranking_words import tested, undominated
from analysis.stats.retrained import Key, by_board
from analysis.stats.scope import Scope, scopes
from analysis.stats.words import amount, counted
from tune_qat.config.statuses import COMPLETED
from tune_qat.text.names import shown
from tune_qat.text.numbers import bare_score, rate, score

NO_RUNS = pd.DataFrame(columns=["optimizer", "failed"])
OF_METHOD = 4
"""Parts of a board's key before its bits: study, mode, workload and method."""
SEVERAL = "differs by repeat"
"""Text for a value that the repeats of an arm chose differently."""


def answer(answers: Answers) -> list[dict[str, Any]]:
    """Return title and facts of each workload of each study, and a line for each board, in the order of `budget`."""
    boards = by_board(answers.frame("budget"))
    scored, pairs = by_board(kept(standing, answers)), by_board(kept(comparisons, answers))
    searched, allowed = by_board(_searched(answers)), scopes(answers, boards)
    runs = by_board(answers.frame("retrain_scores"))
    several, points = fronts(answers), by_board(answers.frame("front"))
    boards = of_bits(boards, [*points, *(key for key in scored if key[0] not in several)])
    allowed |= {key: allowed[searched_as] for key, searched_as in boards.items()}
    titles = _titles(boards)
    known = facts(answers)
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for key in boards:
        where = key[0], key[2]
        one = found.setdefault(where, {"title": heading(*where), "facts": known.get(where, []), "lines": []})
        rows = scored.get(key)
        if rows is not None and (rows["n"] > 0).any():
            # An arm that had nothing to choose may have a second row, without a score.
            able = rows[rows["n"] > 0].drop_duplicates("optimizer")
            line = _tested(able, pairs.get(key), allowed[key])
            line["toml"] = _toml(answers, _trained(runs, key, line.get("optimizer")), line, titles[key])
        else:
            line = _found(searched.get(key))
            line["toml"] = _toml(answers, line.get("trial"), line, titles[key])
        if key[0] in several and line["head"].said == JOINT:
            line["head"] = Head(line["head"].name, ON_FRONT)
        one["lines"].append({"label": titles[key], **line})
    return list(found.values())


def of_bits(boards: Iterable[Key], known: Sequence[Key]) -> dict[Key, Key]:
    """Return the boards to show, each with the one that it was searched on.

    A search over bits has a board without any, and its scores are shown by their bits.
    """
    found = {}
    for key in boards:
        own = [one for one in known if one[:OF_METHOD] == key[:OF_METHOD]] if None in key[OF_METHOD:] else []
        bits = sorted(dict.fromkeys(own), key=lambda one: one[OF_METHOD:], reverse=True)
        found.update({one: key for one in bits} or {key: key})
    return found


def _titles(boards: Iterable[Key]) -> dict[Key, str]:
    """Name each board by its bits, and by its method where its workload has several."""
    found = {}
    for workload in dict.fromkeys(key[:3] for key in boards):
        keys = [key for key in boards if key[:3] == workload]
        frame = pd.DataFrame(keys, columns=BOARD)
        for key, label in zip(keys, labels(frame), strict=True):
            found[key] = titled(label, key[3])
    return found


def _tested(rows: pd.DataFrame, pairs: pd.DataFrame | None, scope: Scope) -> dict[str, Any]:
    """Return the line of a board with scores on test data; its rows are in the order of place."""
    told = [] if pairs is None else tested(pairs)
    of_pairs = {frozenset((row.optimizer, row.other)): row for row in told}
    in_pairs = {name for names in of_pairs for name in names}
    # A mean without an interval against any other leads only where there is none with one.
    able = rows[rows["optimizer"].isin(in_pairs)] if in_pairs else rows
    names, first = list(able["optimizer"]), able.iloc[0]
    leader, unit = str(first["optimizer"]), str(first["unit"])
    group = [
        name for name in undominated(names, told) if name == leader or frozenset((leader, name)) in of_pairs
    ] if in_pairs else [leader]  # fmt: skip
    decimals = decimals_of(rows, unit)
    said = head(leader, group, of_pairs, rows, scope)
    if not said.name:
        return {"head": said, "next": "", "forest": {}}
    return {
        **_configuration(first, decimals, f"n = {counted(int(first['n']), _counts(first))}, test data"),
        "head": said,
        "next": what_follows(leader, group, able, pairs),
        "forest": forest(pd.concat([able, rows.drop(able.index)]), group, unit, decimals),
    }


def _configuration(row: Any, decimals: int, n: str) -> dict[str, Any]:
    unit = str(row["unit"])
    ends = (row["ci_low"], row["ci_high"]) if pd.notna(row["ci_low"]) else None
    return {
        "optimizer": str(row["optimizer"]),
        "rate": SEVERAL if pd.isna(row["learning_rate"]) else rate(float(row["learning_rate"])),
        "batch": SEVERAL if pd.isna(row["batch_size"]) else f"{row['batch_size']:.0f}",
        "metric": shown(str(row["metric"])),
        "score": score(row["mean"], unit, decimals),
        "interval": f"95 % interval {' to '.join(bare_score(end, unit, decimals) for end in ends)}" if ends else "",
        "n": n,
    }


def _counts(row: Any) -> str:
    return str(row["counts"]).removesuffix("s") if isinstance(row["counts"], str) else "seed"


def _searched(answers: Answers) -> pd.DataFrame:
    """Return the completed tuning trials, the best of each board first."""
    trials = answers.frame("tuning_scores")
    trials = trials[trials["status"] == COMPLETED].dropna(subset=["score"])
    return trials.assign(best=-trials["sign"] * trials["score"]).sort_values("best", kind="stable")


def _found(trials: pd.DataFrame | None) -> dict[str, Any]:
    """Return the line of a board that no trial has seen test data of: its best trial on validation data."""
    if trials is None or not len(trials):
        return {"head": NOTHING, "next": "", "forest": {}}
    best = trials.assign(mean=trials["score"], ci_low=float("nan"), ci_high=float("nan"))
    each = best.drop_duplicates("optimizer")
    first, unit = each.iloc[0], str(each["unit"].iloc[0])
    decimals = decimals_of(each, unit)
    joint = first["mode"] == "joint"
    follow = ""
    if len(each) > 1 and not joint:
        behind = abs(float(first["score"]) - float(each["score"].iloc[1]))
        follow = f"Next: {shown(str(each['optimizer'].iloc[1]))}, {amount(behind, unit)} worse, untested. "
    return {
        **_configuration(first, decimals, f"on validation data, the best of {counted(len(best), 'trial')}"),
        "head": Head(shown(str(first["optimizer"])), JOINT if joint else " has the best trial"),
        "next": f"{follow}The best of many is optimistic: retrain trials (`stages.retrain`) give an honest score.",
        "forest": forest(each, [str(first["optimizer"])], unit, decimals),
        "trial": str(first["trial_key"]),
    }


def _trained(runs: dict[Key, pd.DataFrame], key: Key, optimizer: str | None) -> str | None:
    """Return the retrain trial of a configuration that is best on validation data, as `export` chooses it."""
    mine = runs.get(key, NO_RUNS)
    mine = mine[(mine["optimizer"] == optimizer) & ~mine["failed"].astype(bool)]
    if not len(mine):
        return None
    return str(mine.loc[(mine["sign"] * mine["val_score"]).idxmax(), "trial_key"])


def _toml(answers: Answers, trial: str | None, line: dict[str, Any], title: str) -> str:
    if trial is None:
        return ""
    head = f"{shown(line['optimizer'])} at {title}: {line['metric']} {line['score']}, {line['n']}"
    return chosen_toml(answers, trial, head)
