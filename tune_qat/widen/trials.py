"""Trials of a wider study: which recorded ones still fit, and how many are planned."""

import json
import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import analysis
from tune_qat.config import UsageError
from tune_qat.results.views import read_sql
from tune_qat.study import Study
from tune_qat.study.space import BATCH_SIZE, MULTIPLIER, RATE, STEP_RATE, Dimensions
from tune_qat.widen.area import growth


def recorded(asked: analysis.Answers, old: Study, new: Study) -> tuple[dict[str, int], Counter[str]]:
    """Return the ended search trials of each arm that still fit, and the trials of each stage that no longer do."""
    trials = asked.frame(read_sql(__file__, "searched_trials"))
    about = {arm.arm_id: (arm.scheme, arm.step_optimizer) for arm in new.arms()}
    fit, lost = dict.fromkeys(about, 0), Counter[str]()
    trials = trials[(trials["study_id"] == old.name) & trials["optimizer"].isin(old.space.optimizers)]
    for row in trials[trials["arm_id"].isin(about)].itertuples():
        if not _lies_in(old.dimensions(row.optimizer, *about[row.arm_id]), row):
            continue
        if not _lies_in(new.dimensions(row.optimizer, *about[row.arm_id]), row):
            lost[row.stage] += 1
        elif row.stage == "search":
            fit[row.arm_id] += 1
    return fit, lost


def _lies_in(ranges: Dimensions, row: Any) -> bool:
    recorded = json.loads(row.params_json)
    values = {
        **recorded.get("optimizer_options", {}),
        **{name: getattr(row, name) for name in (RATE, BATCH_SIZE, MULTIPLIER)},
    }
    if recorded.get("quantizer_optimizer"):
        values[STEP_RATE] = recorded["quantizer_optimizer"]["learning_rate"]
    return all(bounds.low <= values[name] <= bounds.high for name, bounds in ranges.items() if name in values)


def planned(old: Study, new: Study, given: int | None, fit: Mapping[str, int], lost: Mapping[str, int]) -> int:
    """Return the number of search trials of an arm in the wider study; see `widen`."""
    before = old.stages.search
    if given is None and not before:
        raise UsageError("The study plans no search trials, which would fill the new ranges. Say how many: --trials N.")
    trials = before + math.ceil(round(before * growth(old, new), 6)) if given is None else given
    # Recorded trials that no longer fit are replaced by others.
    least = before if not lost else min(fit.values()) if lost.get("search") else 0
    if trials <= least:
        raise UsageError(
            f"Arms have {least} search trials already, so that nothing new would be run with {trials}. Ask for more: "
            "--trials N."
        )
    return trials
